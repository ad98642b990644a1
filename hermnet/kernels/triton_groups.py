"""Edges by receiving row or by sender, as Triton's kernels want them, made on the device.

Kept as long as the tensor of indices they were made of, so that all layers share them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from hermnet.kernels.recording import made_once
from hermnet.kernels.triton_parts import sum_pieces

_PIECE = 64  # edges that one program adds up where a key has many
_MANY = 2 * _PIECE  # edges of a key, on average
_kept: Any = WeakIdKeyDictionary()


class Groups(NamedTuple):
    """Where the edges of each key stand; without edges both are 0."""

    begins: Tensor  # (n,) int32
    stops: Tensor  # (n,) int32
    order: Tensor  # (n_edges,) int32, the edges as they stand


def groups(keys: Tensor, n: int, runs: bool) -> Groups:
    """The edges of each of `n` keys.

    Args:
        keys: (n_edges,) int64, below n.
        n: number of keys.
        runs: whether edges of one key stand together already; else they are sorted, those of one
            key in the order in which they stand.
    """
    found: Groups = _remembered(keys, ("groups", n, runs), lambda: _groups(keys, n, runs))
    return found


class Pieces(NamedTuple):
    """The edges of each key, in pieces where they are many."""

    groups: Groups  # of pieces
    ends: (
        Tensor | None
    )  # (n,) int32, where the edges of each key end; None where they are one piece

    def summed(self, parts: Tensor) -> Tensor:
        """The sums of the pieces (n_pieces, ...) as those of the keys (n, ...)."""
        return parts if self.ends is None else sum_pieces(parts, self.ends, parts.dtype, _PIECE)


def pieces(keys: Tensor, n: int, runs: bool) -> Pieces:
    """`groups` for sums by key, of which each program makes one.

    One atom of each element sends for all where features are those of elements: few keys, and all
    edges are theirs.
    """
    if keys.shape[0] <= _MANY * n:
        return Pieces(groups(keys, n, runs), None)
    of_key = groups(keys, n, runs=False)  # where edges of a key stand together, keys may fall
    found: Pieces = _remembered(keys, ("pieces", n), lambda: _pieces(of_key))
    return found


def _pieces(of_key: Groups) -> Pieces:
    """Begins of keys and of every `_PIECE`-th edge, sorted: in places as `sum_pieces` has them."""
    n_edges = of_key.order.shape[0]
    ends = of_key.stops.cummax(0).values
    every = torch.arange(0, n_edges, _PIECE, dtype=torch.int32, device=ends.device)
    begins = torch.sort(torch.cat((every, ends[:-1]))).values
    stops = torch.cat((begins[1:], ends[-1:]))
    return Pieces(Groups(begins, stops, of_key.order), ends)


def slots_of(ends: Tensor, n_edges: int) -> Tensor:
    """(n_edges,) int32, the slot of each edge, of where the edges of each slot end."""

    def made() -> Tensor:
        edges = torch.arange(n_edges, dtype=torch.int32, device=ends.device)
        return torch.searchsorted(ends, edges, right=True, out_int32=True)

    found: Tensor = _remembered(ends, ("slots", n_edges), made)
    return found


def _groups(keys: Tensor, n: int, runs: bool) -> Groups:
    edges = torch.arange(keys.shape[0], dtype=torch.int32, device=keys.device)
    order = edges
    if not runs:
        keys, found = torch.sort(keys, stable=True)
        order = found.to(torch.int32)
    begins, stops = torch.zeros(2, n + 1, dtype=torch.int32, device=keys.device)
    differ = keys[1:] != keys[:-1]
    # The last of a group writes its end, the first its begin, and all others into the row after n.
    first = torch.cat((differ.new_ones(min(1, len(keys))), differ))
    last = torch.cat((differ, differ.new_ones(min(1, len(keys)))))
    begins.scatter_(0, torch.where(first, keys, n), edges)
    stops.scatter_(0, torch.where(last, keys, n), edges + 1)
    return Groups(begins[:n], stops[:n], order)


def _remembered(of: Tensor, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
    if of.is_cuda and torch.cuda.is_current_stream_capturing():
        return made_once(of, key, make)
    if of.is_inference():
        return make()
    kept = _kept.setdefault(of, {})
    key = (*key, of._version)
    if key not in kept:
        kept[key] = make()
    return kept[key]
