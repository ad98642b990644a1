"""The relation router: expand, run each sub-network once, merge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from hermnet.copies import Kinds
from hermnet.errors import InputError, nearest
from hermnet.expansion import Expansion
from hermnet.geometry import Geometry, RelationalGraph
from hermnet.in_use import relations_in_use
from hermnet.relations import Scheme
from hermnet.segments import segment_sum
from hermnet.subnetwork import Shape, SubnetChoice


def assign_relations(
    scheme: Scheme, choices: Mapping[str, SubnetChoice]
) -> list[tuple[SubnetChoice, tuple[int, ...]]]:
    """Which relations each sub-network serves, as LAMMPS' `pair_style hybrid` does for pairs.

    Args:
        scheme: the relation scheme.
        choices: by relation label; ``default`` serves every relation that is not named.

    Raises:
        InputError: for a label that is no relation, or relations that nothing serves.
    """
    unknown = [key for key in choices if key != "default" and key not in scheme.labels]
    if unknown:
        hint = nearest(unknown[0], ["default", *scheme.labels])
        raise InputError(f"model.subnet: '{unknown[0]}' is no relation; {hint}")
    parts: list[tuple[SubnetChoice, list[int]]] = []
    for index, label in enumerate(scheme.labels):
        choice = choices.get(label, choices.get("default"))
        if choice is None:
            raise InputError(
                f"model.subnet: nothing serves the relation '{label}'; add it or a 'default'"
            )
        for known, relations in parts:
            if known == choice:
                relations.append(index)
                break
        else:
            parts.append((choice, [index]))
    return [(choice, tuple(relations)) for choice, relations in parts]


def merge_weights(graphs: Sequence[RelationalGraph], n_atoms: int) -> list[Tensor]:
    """Weights that average an atom's copies and let each fade in with its first neighbor.

    A copy's gate is ``g = prod_sides tanh(sum of envelopes)``, its weight ``g / (1 + sum g)`` with
    the sum over all copies of the atom. Without the gate a copy's biases would appear at once when
    a neighbor crosses the cutoff.

    Args:
        graphs: the unions of relation subgraphs, one for each sub-network.
        n_atoms: number of atoms.

    Returns:
        For each graph (n_receivers,), 0 where all neighbors of one side are at the cutoff.
    """
    atoms = [graph.expansion.receivers.atom for graph in graphs]
    gates = [torch.tanh(graph.neighbor_counts).prod(dim=1) for graph in graphs]
    totals = 1.0 + segment_sum(torch.cat(gates), torch.cat(atoms), n_atoms)
    return [gate / totals.index_select(0, atom) for gate, atom in zip(gates, atoms, strict=True)]


class Router(nn.Module):
    """Layers of interactions, each run once on the union of the relations it serves.

    Args:
        scheme: the relation scheme.
        parts: sub-networks with the relations they serve, from `assign_relations`.
        n_layers: number of interaction layers.
        shape: sizes of the features; the number of relations in it is set for each part.
        geometry: makes the relational graph from edge vectors.
    """

    def __init__(
        self,
        scheme: Scheme,
        parts: Sequence[tuple[SubnetChoice, tuple[int, ...]]],
        n_layers: int,
        shape: Shape,
        geometry: Geometry,
    ) -> None:
        super().__init__()
        self.scheme = scheme
        self.geometry = geometry
        self.lmax = shape.lmax
        self.served = [relations for _, relations in parts]
        shapes = [replace(shape, n_relations=len(relations)) for relations in self.served]
        self.shares_sources = [shape.shares_sources for shape in shapes]
        self.two_way = [  # with two sides an edge is in several relations
            choice.interaction.two_way and shape.shares_edges and scheme.n_sides == 1
            for (choice, _), shape in zip(parts, shapes, strict=True)
        ]
        self._mixes = [shape.mixes for shape in shapes]
        for k, relations in enumerate(self.served):
            self.register_buffer(f"part_{k}", self._numbering(relations), persistent=False)
        self.layers = nn.ModuleList(
            nn.ModuleList(
                choice.build(part_shape)
                for (choice, _), part_shape in zip(parts, shapes, strict=True)
            )
            for _ in range(n_layers)
        )

    def parts(self, part: int) -> list[nn.Module]:
        """The interactions of one part, layer by layer."""
        layers = [cast("nn.ModuleList", layer) for layer in self.layers]
        return [layer[part] for layer in layers]

    def _numbering(self, relations: tuple[int, ...]) -> Tensor:
        numbers = torch.full((self.scheme.n_relations,), -1)
        numbers[list(relations)] = torch.arange(len(relations))
        return numbers

    def expand(
        self, classes: Tensor, centers: Tensor, neighbors: Tensor, kinds: Kinds | None = None
    ) -> list[Expansion]:
        """The union of relation subgraphs of each part, once per forward.

        Args:
            classes: (n_atoms,) int64, the class of each atom.
            centers: (n_edges,) int64, the receiving atoms.
            neighbors: (n_edges,) int64, the sending atoms.
            kinds: see `Scheme.expand`.
        """
        is_whole = len(self.served) == 1
        return [
            self.scheme.expand(
                classes,
                centers,
                neighbors,
                None if is_whole else self.get_buffer(f"part_{k}"),
                shares_sources,
                kinds,
            )
            for k, shares_sources in enumerate(self.shares_sources)
        ]

    def is_static(self, n_atoms: int, n_edges: int, n_kinds: int) -> bool:
        """Whether on an accelerator the sizes of the union follow from these numbers alone."""
        return len(self.served) == 1 and self.scheme.is_static(n_atoms, n_edges, n_kinds)

    def in_use(self, expansions: Sequence[Expansion]) -> list[Expansion]:
        """From `expand`, without the segments of relations of which there is nothing.

        Only where weights are mixed anew for each call, which then costs for all relations; and not
        on accelerators, for there the host would wait to count relations.
        """
        return [
            relations_in_use(union) if mixes and union.edge.device.type == "cpu" else union
            for union, mixes in zip(expansions, self._mixes, strict=True)
        ]

    def forward(self, scalars: Tensor, vectors: Tensor, expansions: Sequence[Expansion]) -> Tensor:
        """Features after all layers; before the first there are scalars alone.

        Args:
            scalars: (n_atoms, n_channels), the same for atoms of a kind.
            vectors: (n_edges, 3) in A, from center to neighbor, model dtype.
            expansions: from `expand`.

        Returns:
            (n_atoms, (lmax+1)^2, n_channels).
        """
        graphs = [self.geometry(expansion, vectors) for expansion in expansions]
        weights: list[Tensor] | list[None] = [None] * len(graphs)
        if self.scheme.gated:
            weights = merge_weights(graphs, scalars.shape[0])
        seen = [graph.of_first_layer() for graph in graphs]
        x = with_higher_degrees(scalars, self.lmax)
        for layer in self.layers:
            assert isinstance(layer, nn.ModuleList)
            deltas = [interaction(x, graph) for interaction, graph in zip(layer, seen, strict=True)]
            seen = graphs
            for delta, graph, weight in zip(deltas, graphs, weights, strict=True):
                x = _merge(x, delta, graph, weight)
        return x


def with_higher_degrees(scalars: Tensor, lmax: int) -> Tensor:
    """Features (n_atoms, (lmax+1)^2, n_channels), zero but for scalars (n_atoms, n_channels)."""
    return nn.functional.pad(scalars.unsqueeze(1), (0, 0, 0, (lmax + 1) ** 2 - 1))


def _merge(x: Tensor, delta: Tensor, graph: RelationalGraph, weight: Tensor | None) -> Tensor:
    """Add the copies' changes (n_receivers, m, n_channels) to the first m rows of their atoms."""
    if weight is not None:
        delta = delta * weight.view(-1, 1, 1)
    merged = segment_sum(delta, graph.expansion.receivers.atom, x.shape[0])
    rows = merged.shape[1]
    if rows == x.shape[1]:
        return x + merged
    return torch.cat((x[:, :rows] + merged, x[:, rows:]), dim=1)
