"""Linear layers of each segment with their biases, without columns of ones.

Three operators of torch, of which each derivative is one of them again, so that any order of
differentiation closes::

    C_r = A_r B_r + b_r                    affine
    A_r = C_r B_r^T                        affine_back
    B_r = A_r^T C_r,  b_r = sum of C_r     affine_outer

A matrix and its bias, the row after its last, are one tensor.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor

from hermnet.kernels.choice import SUFFIX, may_take, n_threads, wanted
from hermnet.kernels.library import implement, library

_ALIGNMENT = 16  # bytes: columns that fill the shortest vector of the kernel
_NONE, _ADDED, _ZERO = range(3)  # what the row after a matrix is


def affine(rows: Tensor, weights: Tensor, offsets: Tensor, bias: bool) -> Tensor:
    """Multiply each segment of rows by its own matrix.

    Args:
        rows: (n_rows, n_in or more), sorted by segment; columns beyond `n_in` are ignored.
        weights: (n_segments, n_in, n_out), with a bias (n_segments, n_in + 1, n_out).
        offsets: (n_segments,) int32, where each segment ends.
        bias: whether the last row is one.

    Returns:
        (n_rows, n_out).
    """
    result: Tensor = torch.ops.hermnet.affine(rows, weights, offsets, _ADDED if bias else _NONE)
    return result


def takes(rows: Tensor, weights: Tensor) -> bool:
    """Whether there is a kernel for these."""
    aligned = weights.shape[2] * rows.element_size() % _ALIGNMENT == 0
    return aligned and may_take(rows, weights) and library("affine") is not None


_LIBRARY = torch.library.Library("hermnet", "FRAGMENT")
_LIBRARY.define("affine(Tensor rows, Tensor weights, Tensor offsets, int bias) -> Tensor")
_LIBRARY.define(
    "affine_back(Tensor others, Tensor weights, Tensor offsets, int bias, SymInt width) -> Tensor"
)
_LIBRARY.define(
    "affine_outer(Tensor rows, Tensor others, Tensor offsets, int bias, SymInt n_in) -> Tensor"
)


def _call(which: int, offsets: Tensor, bias: int, a: Tensor, b: Tensor, c: Tensor) -> None:
    sizes = [
        b.shape[0],
        b.shape[1] - int(bias != _NONE),
        b.shape[2],
        n_threads(),
        a.stride(0),
        a.shape[1],
        bias,
    ]
    words = sizes + [t.data_ptr() for t in (offsets, a, b, c)]
    function = getattr(library("affine"), f"hermnet_affine_{SUFFIX[a.dtype]}")
    function(which, (ctypes.c_int64 * len(words))(*words))


def _rows_dense(rows: Tensor) -> Tensor:
    return rows if rows.stride(1) == 1 else rows.contiguous()


def _affine(rows: Tensor, weights: Tensor, offsets: Tensor, bias: int) -> Tensor:
    out = _fake(rows, weights, offsets, bias)
    _call(0, offsets, bias, _rows_dense(rows), weights.contiguous(), out)
    return out


def _back(others: Tensor, weights: Tensor, offsets: Tensor, bias: int, width: int) -> Tensor:
    out = _fake_back(others, weights, offsets, bias, width)
    _call(1, offsets, bias, out, weights.contiguous(), others.contiguous())
    return out


def _outer(rows: Tensor, others: Tensor, offsets: Tensor, bias: int, n_in: int) -> Tensor:
    out = _fake_outer(rows, others, offsets, bias, n_in)
    _call(2, offsets, bias, _rows_dense(rows), out, others.contiguous())
    return out


def _fake(rows: Tensor, weights: Tensor, offsets: Tensor, bias: int) -> Tensor:
    return rows.new_empty(rows.shape[0], weights.shape[2])


def _fake_back(others: Tensor, weights: Tensor, offsets: Tensor, bias: int, width: int) -> Tensor:
    return others.new_empty(others.shape[0], width)


def _fake_outer(rows: Tensor, others: Tensor, offsets: Tensor, bias: int, n_in: int) -> Tensor:
    return rows.new_empty(offsets.shape[0], n_in + int(bias != _NONE), others.shape[1])


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:3])
    ctx.bias = inputs[3]


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    rows, weights, offsets = ctx.saved_tensors
    for_rows, for_weights = wanted(ctx, 2)
    ops, bias = torch.ops.hermnet, ctx.bias
    n_in = weights.shape[1] - int(bias != _NONE)
    return (
        ops.affine_back(grad, weights, offsets, bias, rows.shape[1]) if for_rows else None,
        ops.affine_outer(rows, grad, offsets, bias, n_in) if for_weights else None,
        *[None] * 2,
    )


def _back_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    others, weights, offsets = ctx.saved_tensors
    for_others, for_weights = wanted(ctx, 2)
    ops, bias = torch.ops.hermnet, _NONE if ctx.bias == _NONE else _ZERO
    n_in = weights.shape[1] - int(bias != _NONE)
    return (
        ops.affine(grad, weights, offsets, bias) if for_others else None,
        ops.affine_outer(grad, others, offsets, bias, n_in) if for_weights else None,
        *[None] * 3,
    )


def _outer_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    rows, others, offsets = ctx.saved_tensors
    for_rows, for_others = wanted(ctx, 2)
    ops, bias = torch.ops.hermnet, ctx.bias
    return (
        ops.affine_back(others, grad, offsets, bias, rows.shape[1]) if for_rows else None,
        ops.affine(rows, grad, offsets, bias) if for_others else None,
        *[None] * 3,
    )


for _name, _implementation, _shape, _derivative in (
    ("affine", _affine, _fake, _backward),
    ("affine_back", _back, _fake_back, _back_backward),
    ("affine_outer", _outer, _fake_outer, _outer_backward),
):
    implement(_LIBRARY, _name, _implementation, by="affine")
    torch.library.register_fake(f"hermnet::{_name}", _shape, lib=_LIBRARY)
    torch.library.register_autograd(
        f"hermnet::{_name}", _derivative, setup_context=_save, lib=_LIBRARY
    )
