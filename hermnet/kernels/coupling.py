"""Coupled products of features and harmonics as operators that close under two derivatives.

What a network in the manner of NequIP sums over an atom's neighbors. Written with operators of
torch it makes tensors of edges x paths x channels, which have to go through memory; the kernel
makes none. As with `hermnet.kernels.message` its derivative is an operator too, and so is the
derivative of that; these cannot be differentiated once more.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hermnet.kernels.choice import SUFFIX, may_take, n_threads
from hermnet.kernels.closing import all_but_last, close, dense
from hermnet.kernels.library import implement, library

_ALIGNMENT = 16  # bytes: channels that fill the shortest vector of the kernel
_TABLE = {4: 28, 9: 363}  # entries of the tensors of all paths, by (lmax+1)^2


class Edges(NamedTuple):
    """How factors meet, and who sends to whom. An edge may go two ways: there, and back.

    Where edges have one way, those with the same row have to stand together.
    """

    table: Tensor  # the C of all paths one after another, (2 l2 + 1, 2 l3 + 1, 2 l1 + 1) each
    rows: Tensor  # (n_edges,) or (n_edges, 2) int64; `n_rows` where nothing goes back
    senders: Tensor  # (n_edges,) or (n_edges, 2) int64


def coupled_sum(x: Tensor, harmonics: Tensor, weights: Tensor, edges: Edges, n_rows: int) -> Tensor:
    """``out[rows_e, l3 k] += sum_p C^p_jki x[senders_e, l1 i] y[e, l2 j] w[e, p]``, by channel.

    Paths p are all (l1, l2, l3) up to lmax with l1 + l2 + l3 even, by l1, l3 and l2. On the way
    back harmonics are those of the opposite direction.

    Args:
        x: (n_senders, (lmax+1)^2, n_channels), or (n_senders, 1, n_channels) for scalars alone.
        harmonics: (n_edges, (lmax+1)^2).
        weights: (n_edges, n_paths, n_channels); of scalars only the first lmax + 1 paths.
        edges: the edges, and the C of all paths.
        n_rows: number of receiving rows.

    Returns:
        (n_rows, (lmax+1)^2, n_channels), zero where a row has no edges.
    """
    result: Tensor = torch.ops.hermnet.coupled(x, harmonics, weights, *edges, n_rows)
    return result


def takes(x: Tensor, harmonics: Tensor, weights: Tensor) -> bool:
    """Whether there is a kernel for these."""
    fits = harmonics.shape[1] in _TABLE and x.shape[1] in (1, harmonics.shape[1])
    aligned = x.shape[2] * x.element_size() % _ALIGNMENT == 0
    return fits and aligned and may_take(x, harmonics, weights) and library("coupling") is not None


_LIBRARY = torch.library.Library("hermnet", "FRAGMENT")
_INPUTS = "Tensor x, Tensor y, Tensor w"
_REST = "Tensor table, Tensor rows, Tensor senders"
# `needs` says which results are wanted, one bit for each; the others are empty.
_LIBRARY.define(f"coupled({_INPUTS}, {_REST}, SymInt n_rows) -> Tensor")
_LIBRARY.define(
    f"coupled_first(Tensor grad, {_INPUTS}, {_REST}, int needs) -> (Tensor, Tensor, Tensor)"
)
_LIBRARY.define(
    f"coupled_second(Tensor? t_x, Tensor? t_y, Tensor? t_w, Tensor grad, {_INPUTS}, {_REST},"
    " int needs) -> (Tensor, Tensor, Tensor, Tensor)"
)


def _call(
    which: int,
    inputs: Sequence[Tensor],
    rest: Sequence[Tensor],
    tangents: Sequence[Tensor | None],
    results: Sequence[Tensor | None],
) -> None:
    """Run the kernel; see `Args` in coupling.cpp for the order."""
    grad, x, y, w = inputs
    table, rows, senders = rest
    if table.numel() != _TABLE[y.shape[1]]:
        raise ValueError(f"table: {table.numel()} entries, not {_TABLE[y.shape[1]]}")
    n_ways = math.prod(rows.shape[1:])
    sizes = [x.shape[1], y.shape[1], w.shape[0], n_ways, x.shape[2], grad.shape[0], x.shape[0]]
    sizes += [n_ways == 1, n_threads()]
    pointers = [rows, senders, table, *inputs[1:], grad, *tangents, *results]
    words = sizes + [0 if t is None or t.numel() == 0 else t.data_ptr() for t in pointers]
    function = getattr(library("coupling"), f"hermnet_coupling_{SUFFIX[x.dtype]}")
    function(which, (ctypes.c_int64 * len(words))(*words))


def _coupled(*arguments: Any) -> Tensor:
    *given, n_rows = arguments
    x, y, w, *rest = dense(given)
    out: Tensor = x.new_zeros(n_rows, y.shape[1], x.shape[2])
    _call(0, (out, x, y, w), rest, [None] * 3, [out, None, None, None])
    return out


def _gradients(inputs: Sequence[Tensor], needs: int) -> list[Tensor]:
    """Room for the gradients; those of edges are written once and need no zeros."""
    x, *of_edges = inputs
    first = x.new_zeros(x.shape) if needs & 1 else x.new_empty(0)
    return [
        first,
        *(t.new_empty(t.shape if needs >> k & 1 else 0) for k, t in enumerate(of_edges, 1)),
    ]


def _coupled_first(*arguments: Any) -> tuple[Tensor, ...]:
    *given, needs = arguments
    grad, x, y, w, *rest = dense(given)
    results = _gradients((x, y, w), needs)
    _call(1, (grad, x, y, w), rest, [None] * 3, [None, *results])
    return tuple(results)


def _coupled_second(*arguments: Any) -> tuple[Tensor, ...]:
    *given, needs = arguments
    t_x, t_y, t_w, grad, x, y, w, *rest = dense(given)
    results = [grad.new_zeros(grad.shape), *_gradients((x, y, w), needs >> 1)]
    _call(2, (grad, x, y, w), rest, (t_x, t_y, t_w), results)
    return tuple(results)


def _fake_coupled(*arguments: Any) -> Tensor:
    x, y, n_rows = arguments[0], arguments[1], arguments[-1]
    result: Tensor = x.new_empty(n_rows, y.shape[1], x.shape[2])
    return result


def _fake_first(*arguments: Any) -> tuple[Tensor, ...]:
    return tuple(_gradients(arguments[1:4], arguments[-1]))


def _fake_second(*arguments: Any) -> tuple[Tensor, ...]:
    grad = arguments[3]
    return grad.new_empty(grad.shape), *_gradients(arguments[4:7], arguments[-1] >> 1)


for _name, _implementation, _fake in (
    ("coupled", _coupled, _fake_coupled),
    ("coupled_first", _coupled_first, _fake_first),
    ("coupled_second", _coupled_second, _fake_second),
):
    implement(_LIBRARY, _name, _implementation, by="coupling")
    torch.library.register_fake(f"hermnet::{_name}", _fake, lib=_LIBRARY)
close(_LIBRARY, "coupled", 3, all_but_last, all_but_last)
