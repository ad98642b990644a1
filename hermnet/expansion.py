"""The disjoint union of relation subgraphs, as indices.

A **copy** is an (atom, relation) pair in use; the copies that send (sources) and those that receive
(receivers) are listed apart, each sorted by relation, so that a relation owns one contiguous
segment.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor


class Segments(NamedTuple):
    """Rows sorted by relation: where each relation's end, and which relation it is."""

    ends: Tensor  # (n_segments,) int32
    relation: Tensor | None = None  # (n_segments,) int64; None where segment k is of relation k


@dataclass(frozen=True)
class Copies:
    """Distinct (atom, relation) pairs sorted by relation, then by atom."""

    atom: Tensor  # (n_copies,) int64
    offsets: Tensor  # (n_relations,) int32, where each relation's segment ends
    relation: Tensor | None = None  # see `Segments`

    @property
    def segments(self) -> Segments:
        """What a layer needs to know of the copies' relations."""
        return Segments(self.offsets, self.relation)


@dataclass(frozen=True)
class BothWays:
    """Edges that stand for their reverses too, see `hermnet.two_way`: there, then back."""

    side_centers: Tensor  # (n_relational_edges, 2) int64; `n_rows` where nothing goes back
    neighbors: Tensor  # (n_relational_edges, 2) int64, into sources
    neighbor_kinds: Tensor  # (n_relational_edges, 2) int64, into kinds


@dataclass(frozen=True)
class Expansion:
    """The disjoint union of the relation subgraphs, as indices.

    With two sides (`triadic`) the relations of sources and edges are numbered
    ``2 * relation + side``, those of receivers ``relation``. Sources that know no relations are one
    segment.

    In the first layer an atom's features are those of its element, so that one atom of each element
    can send for all: these few copies are the `kinds`. Where features may be any, they are the
    sources.
    """

    receivers: Copies
    sources: Copies
    kinds: Copies
    edge: Tensor  # (n_relational_edges,) int64, the graph's edge; sorted by slot, then center
    centers: Tensor  # (n_relational_edges,) int64, into receivers
    neighbors: Tensor  # (n_relational_edges,) int64, into sources
    neighbor_kinds: Tensor  # (n_relational_edges,) int64, into kinds
    neighbor_atoms: Tensor  # (n_relational_edges,) int64, the sending atom
    offsets: Tensor  # (n_relations * n_sides,) int32, where each segment of edges ends
    side_rows: Tensor  # (n_receivers, n_sides) int64, rows of sums taken apart by side
    side_centers: Tensor  # (n_relational_edges,) int64, n_sides * center + side
    slots: Tensor | None = None  # the edges' `Segments.relation`
    both: BothWays | None = None  # where an edge may stand for its reverse too

    @property
    def segments(self) -> Segments:
        """What a layer needs to know of the edges' relations."""
        return Segments(self.offsets, self.slots)

    @property
    def n_rows(self) -> int:
        """Number of rows of sums that are taken apart by side."""
        return self.side_rows.shape[0] * self.side_rows.shape[1]

    def of_kinds(self) -> Expansion:
        """The union of the first layer, in which one atom of each kind sends for all."""
        both = self.both
        if both is not None:
            both = replace(both, neighbors=both.neighbor_kinds)
        return replace(self, sources=self.kinds, neighbors=self.neighbor_kinds, both=both)


torch.export.register_dataclass(Copies)
torch.export.register_dataclass(BothWays)
torch.export.register_dataclass(Expansion)
