"""Edges that stand for their reverses too, where their filters depend on their length alone.

Messages from i to j and from j to i then have the same filter, which a list of both edges makes
twice. Here one of the two stays, with its way back beside it. This holds for any list: an edge
whose reverse is missing, as where an engine gives neighbors to some atoms only, goes one way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from hermnet.expansion import BothWays, Expansion
from hermnet.kernels import indexing

_LARGEST = 2**62  # of the numbers that tell edges apart


def two_way(
    unions: Sequence[Expansion],
    takes: Sequence[bool],
    centers: Tensor,
    neighbors: Tensor,
    shifts: Tensor | None,
) -> list[Expansion]:
    """The same unions, where wanted with one edge for each two that are each other's reverse.

    Not on accelerators, for there the host would wait to count them.

    Args:
        unions: in which an edge of the graph occurs once at most, where it is wanted.
        takes: for each union whether it is wanted.
        centers: (n_edges,) int64, the receiving atoms of the graph's edges.
        neighbors: (n_edges,) int64, the sending atoms.
        shifts: (n_edges, 3) whole numbers of lattice vectors; None where periodic images are atoms
            of their own.
    """
    is_waiting = centers.device.type != "cpu"
    halved = indexing.halved if indexing.may_take(centers) else _halved
    return [
        union if is_waiting or not wanted else halved(union, centers, neighbors, shifts)
        for union, wanted in zip(unions, takes, strict=True)
    ]


@torch.no_grad()
def _halved(
    union: Expansion, centers: Tensor, neighbors: Tensor, shifts: Tensor | None
) -> Expansion:
    own = None if shifts is None else shifts.index_select(0, union.edge)
    ends = centers.index_select(0, union.edge), neighbors.index_select(0, union.edge)
    rows, reverse = one_of_two(*ends, own)
    kept = ("edge", "centers", "neighbors", "neighbor_kinds", "neighbor_atoms", "side_centers")
    both = torch.stack((rows, reverse), dim=1)
    side_centers = union.side_centers[both]
    side_centers[:, 1].masked_fill_(reverse == rows, union.n_rows)
    return replace(
        union,
        **{name: getattr(union, name).index_select(0, rows) for name in kept},
        offsets=torch.searchsorted(rows, union.offsets).to(torch.int32),
        both=BothWays(side_centers, union.neighbors[both], union.neighbor_kinds[both]),
    )


def one_of_two(
    centers: Tensor, neighbors: Tensor, shifts: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """One edge of each two that are each other's reverse, and every edge that has none.

    Args:
        centers: (n_edges,) int64.
        neighbors: (n_edges,) int64.
        shifts: (n_edges, 3) whole numbers; None for zeros.

    Returns:
        The edges that stay, (n,) int64 and ascending, and the reverse of each, or itself.
    """
    one, other = _pairs(centers, neighbors, shifts)
    reverse = torch.arange(centers.shape[0]).index_copy_(0, one, other)
    stays = torch.ones_like(centers, dtype=torch.bool).index_fill_(0, other, False)
    (rows,) = stays.nonzero(as_tuple=True)
    return rows, reverse.index_select(0, rows)


def _pairs(centers: Tensor, neighbors: Tensor, shifts: Tensor | None) -> tuple[Tensor, Tensor]:
    """Edges and their reverses, (n_pairs,) each; no edge occurs twice, of equal ones neither."""
    if centers.shape[0] == 0:
        return centers, centers
    n_atoms = 1 + int(torch.maximum(centers, neighbors).max())
    width = 1 if shifts is None else 1 + 2 * int(shifts.abs().max())
    if n_atoms**2 * width**3 > _LARGEST // 2:  # lists with images hundreds of cells away
        return centers[:0], centers[:0]
    ahead, behind = centers * n_atoms + neighbors, neighbors * n_atoms + centers
    if shifts is not None and width > 1:
        x, y, z = shifts.to(torch.int64).unbind(1)
        image = (x * width + y) * width + z
        ahead, behind = ahead * width**3 + image, behind * width**3 - image
    # what both have in common, even for the one and odd for the other
    number, order = torch.sort(2 * torch.minimum(ahead, behind) + (behind < ahead))
    meet = (number.diff() == 1) & (number[1:] & 1 == 1)
    (place,) = meet.nonzero(as_tuple=True)
    return order[place], order[place + 1]
