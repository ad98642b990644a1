"""The disjoint union of relation subgraphs, as indices.

A **copy** is an (atom, relation) pair in use; the copies that send (sources) and those that receive
(receivers) are listed apart, each sorted by relation, so that a relation owns one contiguous
segment.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Copies:
    """Distinct (atom, relation) pairs sorted by relation, then by atom."""

    atom: Tensor  # (n_copies,) int64
    offsets: Tensor  # (n_relations,) int32, where each relation's segment ends


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


torch.export.register_dataclass(Copies)
torch.export.register_dataclass(Expansion)
