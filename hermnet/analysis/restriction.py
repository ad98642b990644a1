"""Some relations of a union of relation subgraphs, without the others."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hermnet.expansion import Copies, Expansion


@dataclass(frozen=True)
class _Kept:
    """Rows that stay, and for every row its number among them."""

    rows: Tensor  # (n_kept,) int64
    number: Tensor  # (n_rows,) int64, meaningless where a row goes
    offsets: Tensor  # (n_segments,) int32, where each segment of the kept rows ends


def restricted(expansion: Expansion, relations: list[int]) -> Expansion:
    """The union of these relations only; their numbers stay, the others are empty segments.

    Args:
        expansion: of all relations that a sub-network serves.
        relations: numbers among these.
    """
    n_sides = expansion.side_rows.shape[1]
    wanted = torch.zeros_like(expansion.receivers.offsets, dtype=torch.bool)
    wanted[relations] = True
    slots = wanted.repeat_interleave(n_sides)
    receivers = _keep(expansion.receivers.offsets, wanted)
    edges = _keep(expansion.offsets, slots)
    sources, neighbors = _senders(expansion.sources, expansion.neighbors[edges.rows], slots)
    kinds, neighbor_kinds = _senders(expansion.kinds, expansion.neighbor_kinds[edges.rows], slots)
    centers = receivers.number[expansion.centers[edges.rows]]
    side = expansion.side_centers[edges.rows] % n_sides
    rows = torch.arange(len(receivers.rows), device=centers.device).unsqueeze(1)
    return Expansion(
        receivers=Copies(expansion.receivers.atom[receivers.rows], receivers.offsets),
        sources=sources,
        kinds=kinds,
        edge=expansion.edge[edges.rows],
        centers=centers,
        neighbors=neighbors,
        neighbor_kinds=neighbor_kinds,
        neighbor_atoms=expansion.neighbor_atoms[edges.rows],
        offsets=edges.offsets,
        side_rows=n_sides * rows + expansion.side_rows[receivers.rows] % n_sides,
        side_centers=n_sides * centers + side,
    )


def _senders(copies: Copies, rows: Tensor, slots: Tensor) -> tuple[Copies, Tensor]:
    """The copies that stay of those that send, and the rows of the kept edges among them."""
    knows = len(copies.offsets) == len(slots)  # else one segment of all atoms
    kept = _keep(copies.offsets, slots if knows else slots.new_ones(1))
    return Copies(copies.atom[kept.rows], kept.offsets), kept.number[rows]


def _keep(offsets: Tensor, segments: Tensor) -> _Kept:
    sizes = offsets.diff(prepend=offsets.new_zeros(1))
    mask = segments.repeat_interleave(sizes)
    ends = torch.where(segments, sizes, 0).cumsum(0).to(torch.int32)
    return _Kept(torch.nonzero(mask).squeeze(1), torch.cumsum(mask, 0) - 1, ends)
