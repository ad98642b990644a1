"""`RelationalGraph`: the union of relation subgraphs with its geometry, shared by all layers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hermnet.envelopes import Envelope
from hermnet.expansion import Expansion
from hermnet.radial import RadialBasis
from hermnet.segments import segment_sum


@dataclass(frozen=True)
class RelationalGraph:
    """What an interaction sees: who sends to whom in which relation, and where they are.

    Edges, sources and receivers are each sorted by relation.
    """

    expansion: Expansion
    lengths: Tensor  # (n_edges,) A
    directions: Tensor  # (n_edges, 3) unit vectors from center to neighbor
    radial: Tensor  # (n_edges, n_radial) radial basis, without envelope
    envelope: Tensor  # (n_edges,) 1 at distance zero, 0 at the cutoff
    enveloped: Tensor  # (n_edges, n_radial + 1 or more) basis x envelope, envelope, zeros
    harmonics: Tensor | None  # (n_edges, (lmax+1)^2) where a sub-network uses them
    is_first: bool = False  # of the first layer, where all features but the scalars are zero

    @property
    def n_receivers(self) -> int:
        """Number of receiving copies."""
        return self.expansion.receivers.atom.shape[0]

    @property
    def n_sides(self) -> int:
        """2 where an edge knows its side of a relation (`triadic`), else 1."""
        return self.expansion.side_rows.shape[1]

    @property
    def centers(self) -> Tensor:
        """(n_edges,) int64, the receiving copy of each edge."""
        return self.expansion.centers

    @property
    def neighbors(self) -> Tensor:
        """(n_edges,) int64, the source copy of each edge."""
        return self.expansion.neighbors

    @property
    def ends(self) -> tuple[Tensor, Tensor]:
        """Receiving rows (`side_centers`) and sources, (n_edges,), or (n_edges, 2) for both ways.

        A row that is `n_rows` is none: nothing goes back along that edge.
        """
        union = self.expansion
        ends = union if union.both is None else union.both
        return ends.side_centers, ends.neighbors

    @cached_property
    def sending_atoms(self) -> Tensor:
        """The atoms that send, (n_edges,), or (n_edges, 2) for both ways."""
        union = self.expansion
        if union.both is None:
            return union.neighbor_atoms
        back = union.receivers.atom.index_select(0, union.centers)
        return torch.stack((union.neighbor_atoms, back), dim=1)

    @cached_property
    def neighbor_counts(self) -> Tensor:
        """Neighbors on each side, each counted by its envelope, (n_receivers, n_sides)."""
        return self.sum_by_side(self.for_each_way(self.envelope))

    def of_first_layer(self) -> RelationalGraph:
        """The same for features of elements: one atom of each kind sends for all."""
        return replace(self, expansion=self.expansion.of_kinds(), is_first=True)

    def at_sources(self, x: Tensor) -> Tensor:
        """Atoms' rows (n_atoms, ...) as source copies' rows (n_sources, ...)."""
        return x.index_select(0, self.expansion.sources.atom)

    def at_receivers(self, x: Tensor) -> Tensor:
        """Atoms' rows (n_atoms, ...) as receiving copies' rows (n_receivers, ...)."""
        return x.index_select(0, self.expansion.receivers.atom)

    def sum_messages(self, messages: Tensor) -> Tensor:
        """Messages (n_edges, ...) summed on the receiving copies (n_receivers, ...)."""
        return segment_sum(messages, self.centers, self.n_receivers)

    def for_each_way(self, values: Tensor, parity: Tensor | float = 1.0) -> Tensor:
        """Values of edges (n_edges, ...) for all `ends`, (n_ways, ...).

        Args:
            values: of each edge.
            parity: what they are multiplied by on the way back, in the opposite direction.
        """
        if self.expansion.both is None:
            return values
        return torch.stack((values, values * parity), dim=1).flatten(0, 1)

    def sum_ways(self, messages: Tensor) -> Tensor:
        """Messages of all `ends`, a way after the other, summed (n_receivers, ...)."""
        return self.over_sides(self.sum_on_rows(messages))

    def sum_on_rows(self, messages: Tensor) -> Tensor:
        """What `sum_ways` adds up over sides, on the rows `side_centers`."""
        union = self.expansion
        if union.both is None:
            return segment_sum(messages, union.side_centers, union.n_rows)
        sums = segment_sum(messages, union.both.side_centers.reshape(-1), union.n_rows + 1)
        return sums[: union.n_rows]

    def sum_by_side(self, messages: Tensor) -> Tensor:
        """Messages of all `ends` summed apart for each side, (n_receivers, n_sides, ...).

        Both sides of a relation between like classes hold the same sum.
        """
        return self.by_side(self.sum_on_rows(messages))

    def over_sides(self, sums: Tensor) -> Tensor:
        """Sums on the rows `side_centers` added up over sides, (n_receivers, ...)."""
        return sums if self.n_sides == 1 else sums.unflatten(0, (-1, self.n_sides)).sum(dim=1)

    def by_side(self, sums: Tensor) -> Tensor:
        """What `sum_by_side` gives, of sums on the rows `side_centers`."""
        rows = self.expansion.side_rows
        if self.n_sides == 1:
            return sums.unsqueeze(1)
        return sums.index_select(0, rows.reshape(-1)).view(*rows.shape, *sums.shape[1:])


SOFTNESS = 0.01  # of norms, as epsilon; PaiNN's authors have 1e-8, with which energies wander


def soft_norm(vectors: Tensor, epsilon: float) -> Tensor:
    """``sqrt(|v|^2 + epsilon)`` of vectors (n, 3, n_channels), (n, n_channels).

    The norm itself has a kink where a vector vanishes. Below a length of sqrt(epsilon) this is a
    parabola, whose curvature 1 / sqrt(epsilon) bounds what a force constant can get from it.
    """
    return torch.sqrt((vectors * vectors).sum(dim=1) + epsilon)


class Harmonics(nn.Module):
    """Real spherical harmonics of e3nn up to `lmax`, normalisation ``component``.

    Geiger and Smidt, e3nn: Euclidean Neural Networks, arXiv:2207.09453.
    """

    def __init__(self, lmax: int) -> None:
        super().__init__()
        from e3nn import o3  # late: its import takes seconds

        self.function = o3.SphericalHarmonics(
            list(range(lmax + 1)), normalize=False, normalization="component"
        )

    def forward(self, directions: Tensor) -> Tensor:
        """(n_edges, 3) unit vectors -> (n_edges, (lmax+1)^2)."""
        result: Tensor = self.function(directions)
        return result


class Geometry(nn.Module):
    """From edge vectors to a `RelationalGraph`.

    Args:
        radial: the radial basis.
        envelope: the envelope; both with the model's cutoff.
        lmax: highest degree of the harmonics, or None where no sub-network uses them.
    """

    def __init__(self, radial: RadialBasis, envelope: Envelope, lmax: int | None) -> None:
        super().__init__()
        self.radial = radial
        self.envelope = envelope
        self.harmonics = None if lmax is None else Harmonics(lmax)

    def forward(self, expansion: Expansion, vectors: Tensor) -> RelationalGraph:
        """Evaluate on the union.

        Args:
            expansion: the union's indices.
            vectors: (n_graph_edges, 3) in A, model dtype, from center to neighbor.
        """
        vectors = vectors.index_select(0, expansion.edge)
        lengths = torch.linalg.vector_norm(vectors, dim=1)
        directions = vectors / lengths.unsqueeze(1)
        envelope = self.envelope(lengths)
        radial = self.radial(lengths)
        edge_weight = envelope.unsqueeze(1)
        enveloped = torch.cat((radial * edge_weight, edge_weight), dim=1)
        return RelationalGraph(
            expansion=expansion,
            lengths=lengths,
            directions=directions,
            radial=radial,
            envelope=envelope,
            # a multiple of four columns, which grouped products want
            enveloped=F.pad(enveloped, (0, -enveloped.shape[1] % 4)),
            harmonics=None if self.harmonics is None else self.harmonics(directions),
        )
