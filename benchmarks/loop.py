"""A relation scheme in its naive form, for comparison: a Python loop over relations.

For every relation the subgraph is cut out, a PaiNN of its own runs on it, and the result is added
onto the atoms. The cutting is done once per forward, and on atoms in use only, so that the loop is
not slower than it has to be. With the weights of a router in one pass the energies are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from hermnet.copies import Kinds
from hermnet.expansion import Copies, Expansion
from hermnet.potential import Potential
from hermnet.relational import Sharing
from hermnet.router import Router, merge_weights, with_higher_degrees
from hermnet.subnets.painn import PaiNN
from hermnet.subnetwork import Shape


class LoopRouter(nn.Module):
    """Stands in for the `Router` of a potential with independent weights.

    Args:
        router: one part, a PaiNN for all relations; its weights are copied.
        shape: what that PaiNN was built from, for one relation.
    """

    def __init__(self, router: Router, shape: Shape) -> None:
        super().__init__()
        self.scheme = router.scheme
        self.geometry = router.geometry
        self.lmax = router.lmax
        self.two_way = [False] * router.scheme.n_relations
        parts = [cast("nn.ModuleList", layer)[0] for layer in router.layers]
        n = self.scheme.n_relations
        self.layers = nn.ModuleList(
            nn.ModuleList(_one_relation(part, k, shape, n) for k in range(n)) for part in parts
        )

    def expand(
        self, classes: Tensor, centers: Tensor, neighbors: Tensor, kinds: Kinds
    ) -> list[Expansion]:
        """The subgraph of each relation, as `Router.expand`; every atom sends for itself."""
        union = self.scheme.expand(classes, centers, neighbors)
        return [_cut(union, k, self.scheme.n_sides) for k in range(self.scheme.n_relations)]

    def is_static(self, n_atoms: int, n_edges: int, n_kinds: int) -> bool:
        """No: how large the subgraphs are has to be counted."""
        return False

    def in_use(self, expansions: Sequence[Expansion]) -> Sequence[Expansion]:
        """All of them: weights are not mixed."""
        return expansions

    def forward(self, scalars: Tensor, vectors: Tensor, expansions: Sequence[Expansion]) -> Tensor:
        """Update the features by all layers, as `Router.forward`."""
        graphs = [self.geometry(expansion, vectors) for expansion in expansions]
        weights: list[Tensor] | list[None] = [None] * len(graphs)
        if self.scheme.gated:
            weights = merge_weights(graphs, scalars.shape[0])
        seen = [graph.of_first_layer() for graph in graphs]
        x = with_higher_degrees(scalars, self.lmax)
        for layer in self.layers:
            merged = x
            for part, graph, weight in zip(layer, seen, weights, strict=True):
                delta = part(x, graph)
                if weight is not None:
                    delta = delta * weight.view(-1, 1, 1)
                merged = merged.index_add(0, graph.expansion.receivers.atom, delta)
            x, seen = merged, graphs
        return x


def loop_over(potential: Potential) -> None:
    """Replace the router of a PaiNN potential by a loop with the same weights."""
    options = potential.options
    router = potential.router
    shape = Shape(
        n_channels=options.n_channels,
        lmax=router.lmax,
        n_radial=options.n_radial,
        n_relations=1,
        n_sides=router.scheme.n_sides,
        sharing=Sharing.parse("independent"),
        mean_neighbors=potential.mean_neighbors,
    )
    potential.router = LoopRouter(router, shape)  # type: ignore[assignment]  # acts as one


def _one_relation(part: nn.Module, relation: int, shape: Shape, n_relations: int) -> PaiNN:
    single = PaiNN(shape)
    state = {}
    for name, stack in part.state_dict().items():
        n = stack.shape[0] // n_relations  # 2 where the layer knows its side
        state[name] = stack[n * relation : n * (relation + 1)]
    single.load_state_dict(state)
    return single


def _cut(union: Expansion, relation: int, n_sides: int) -> Expansion:
    """The segments of one relation, numbered within their own subgraph."""
    segments = slice(n_sides * relation, n_sides * (relation + 1))
    edges, ends = _rows(union.offsets, segments)
    sources, source_ends = _rows(union.sources.offsets, segments)
    receivers, receiver_ends = _rows(union.receivers.offsets, slice(relation, relation + 1))
    first = receivers.start
    senders = Copies(union.sources.atom[sources], source_ends)
    neighbors = union.neighbors[edges] - sources.start
    return Expansion(
        receivers=Copies(union.receivers.atom[receivers], receiver_ends),
        sources=senders,
        kinds=senders,
        edge=union.edge[edges],
        centers=union.centers[edges] - first,
        neighbors=neighbors,
        neighbor_kinds=neighbors,
        neighbor_atoms=union.neighbor_atoms[edges],
        offsets=ends,
        side_rows=union.side_rows[receivers] - n_sides * first,
        side_centers=union.side_centers[edges] - n_sides * first,
    )


def _rows(offsets: Tensor, segments: slice) -> tuple[slice, Tensor]:
    """The rows of some segments, and where each of them ends within these rows."""
    start = int(offsets[segments.start - 1]) if segments.start else 0
    ends = offsets[segments] - start
    return slice(start, start + int(ends[-1])), ends.to(torch.int32)
