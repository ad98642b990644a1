"""The disjoint union of relation subgraphs, from edges with relations to its indices."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from hermnet.copies import Kinds, Senders, copies_of, segment_ends, standing_copies
from hermnet.expansion import Expansion


class Links(NamedTuple):
    """Relational edges before they are sorted."""

    edge: Tensor  # (n_links,) int64, the graph's edge
    relation: Tensor  # (n_links,) int64
    side: Tensor  # (n_links,) int64


class Linked(NamedTuple):
    """A graph with relations, of which a union is made."""

    links: Links
    centers: Tensor  # (n_edges,) int64, the receiving atoms
    neighbors: Tensor  # (n_edges,) int64, the sending atoms
    n_atoms: int
    n_relations: int
    n_sides: int
    standing: Tensor | None  # (n_atoms,) int64, in which relation atoms always receive; -1 for none
    kinds: Kinds | None  # atoms with the same features in the first layer
    shares_sources: bool  # whether an atom has one source for all relations
    is_whole: bool  # whether no relation is left out
    lists_all: bool = False  # also copies that send nothing, so that nobody has to count

    @property
    def lists_sources(self) -> bool:
        """Whether every atom is a source, in one segment."""
        return self.shares_sources and self.is_whole


def union(given: Linked) -> Expansion:
    """The union by operators of torch, with `side_rows` of a single side."""
    links, n_atoms, n_sides = given.links, given.n_atoms, given.n_sides
    slot = links.relation * n_sides + links.side
    order = torch.argsort(slot * n_atoms + given.centers[links.edge], stable=True)
    slot, edge, relation = (t[order] for t in (slot, links.edge, links.relation))
    center, neighbor = given.centers[edge], given.neighbors[edge]
    n_relations, n_slots = given.n_relations, given.n_relations * n_sides
    if given.standing is None:
        receivers, row = copies_of(relation * n_atoms + center, n_relations, n_atoms)
    else:
        receivers, row_of = standing_copies(given.standing, n_relations, given.is_whole)
        row = row_of[center]
    senders = Senders(None, 1, neighbor, n_atoms, given.lists_all)
    senders = senders if given.shares_sources else senders.of_segments(slot, n_slots)
    sources, source_row = senders.every() if given.lists_sources else senders.used()
    first, first_row = sources, source_row
    if given.kinds is not None:
        first, first_row = senders.used_kinds(given.kinds)
    return Expansion(
        receivers=receivers,
        sources=sources,
        kinds=first,
        edge=edge,
        centers=row,
        neighbors=source_row,
        neighbor_kinds=first_row,
        neighbor_atoms=neighbor,
        offsets=segment_ends(slot, n_slots),
        side_rows=torch.arange(receivers.atom.shape[0], device=row.device).unsqueeze(1),
        side_centers=row * n_sides + slot % n_sides,
    )
