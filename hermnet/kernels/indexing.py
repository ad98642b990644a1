"""Indices of unions in C++, for CPUs: the same numbers in a tenth of the time.

For a few molecules the calls into torch take longer than what they do.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from hermnet.expansion import BothWays, Copies, Expansion
from hermnet.kernels.choice import is_plain
from hermnet.kernels.library import library
from hermnet.unions import Linked


def takes(given: Linked) -> bool:
    """Whether unions of this are made here."""
    return not given.lists_all and may_take(given.centers)


def may_take(indices: Tensor) -> bool:
    """Whether there is code for indices on this device."""
    return not is_plain() and indices.device.type == "cpu" and library("indexing") is not None


def union(given: Linked) -> Expansion:
    """See `hermnet.unions.union`."""
    n_links, n_slots = given.links.edge.shape[0], given.n_relations * given.n_sides
    n_segments = 1 if given.shares_sources else n_slots
    kinds = given.kinds
    edges, ends = _rows(6, n_links), torch.empty(n_slots, dtype=torch.int32)
    made = [
        _copies(n_links if given.standing is None else given.n_atoms, given.n_relations),
        _copies(given.n_atoms if given.lists_sources else n_links, n_segments),
        _copies(n_links, n_segments),
    ]
    counts = torch.zeros(3, dtype=torch.int64)
    places = [
        *given.links,
        given.centers,
        given.neighbors,
        given.standing,
        *(kinds or (None, None)),
    ]
    places = [None if t is None else t.contiguous() for t in places]
    places += [*edges, ends, *(c.atom for c in made), *(c.offsets for c in made), counts]
    sizes = [n_links, given.n_atoms, given.n_relations, given.n_sides]
    sizes += [0 if kinds is None else kinds.atom.shape[0]]
    _call("union", [*sizes, given.shares_sources, given.lists_sources], places)
    used = zip(made, counts.tolist(), strict=True)
    receivers, sources, firsts = (replace(c, atom=c.atom[:n]) for c, n in used)
    edge, row, source_row, kind_row, neighbor_atom, side_row = edges
    return Expansion(
        receivers=receivers,
        sources=sources,
        kinds=sources if kinds is None else firsts,
        edge=edge,
        centers=row,
        neighbors=source_row,
        neighbor_kinds=source_row if kinds is None else kind_row,
        neighbor_atoms=neighbor_atom,
        offsets=ends,
        side_rows=torch.arange(receivers.atom.shape[0]).unsqueeze(1),
        side_centers=side_row,
    )


def halved(
    whole: Expansion, centers: Tensor, neighbors: Tensor, shifts: Tensor | None
) -> Expansion:
    """See `hermnet.two_way.two_way`; of the graph's edges, like the other arguments."""
    n_edges = whole.edge.shape[0]
    rows, both, ends = _rows(6, n_edges), _rows(3, n_edges, 2), torch.empty_like(whole.offsets)
    count = torch.zeros(1, dtype=torch.int64)
    names = ("edge", "centers", "neighbors", "neighbor_kinds", "neighbor_atoms", "side_centers")
    given = [*(getattr(whole, name) for name in names), whole.offsets, centers, neighbors]
    places = [*(t.contiguous() for t in given), None]
    if shifts is not None:
        places[-1] = shifts.to(torch.float64).contiguous()
    places += [*rows, *both, ends, count]
    _call("halved", [n_edges, ends.shape[0], whole.n_rows], places)
    n = int(count)
    kept: dict[str, Any] = {name: row[:n] for name, row in zip(names, rows, strict=True)}
    return replace(whole, **kept, offsets=ends, both=BothWays(*(t[:n] for t in both)))


def _call(name: str, sizes: Sequence[int], places: Sequence[Tensor | None]) -> None:
    """Run the code; see the structures in indexing.cpp for the order."""
    words = [*sizes, *(0 if t is None else t.data_ptr() for t in places)]
    function = getattr(library("indexing"), f"hermnet_indexing_{name}")
    function((ctypes.c_int64 * len(words))(*words))


def _rows(number: int, *shape: int) -> list[Tensor]:
    return [torch.empty(shape, dtype=torch.int64) for _ in range(number)]


def _copies(most: int, n_segments: int) -> Copies:
    """Room for copies."""
    atoms = torch.empty(most, dtype=torch.int64)
    return Copies(atoms, torch.zeros(n_segments, dtype=torch.int32))
