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
