"""Sums of gathered rows times rows of edges: SchNet's convolution and all its derivatives.

Two operators of torch that are each other's derivatives, so that any order of differentiation
closes::

    out[to_e] += a[from_e] b[e]          product_sum
    b[e]       = a[to_e] b[from_e]       edge_product

An edge may go both ways, each with ends of its own; there both sum over ways.
"""

from __future__ import annotations

import ctypes
import math
from typing import Any

import torch
from torch import Tensor

from hermnet.kernels.choice import SUFFIX, may_take, n_threads, wanted
from hermnet.kernels.first_use import FirstUse, may_take_on_gpu
from hermnet.kernels.library import implement, library


def product_sum(values: Tensor, weights: Tensor, rows: Tensor, senders: Tensor, n: int) -> Tensor:
    """``out[rows_e] += values[senders_e] * weights_e``.

    Args:
        values: (n_senders, n_channels).
        weights: (n_edges, n_channels).
        rows: (n_edges,) int64; edges with the same row have to stand together. Or (n_edges, 2) for
            two ways in any order, on a CPU; `n` where one of them goes nowhere.
        senders: (n_edges,) or (n_edges, 2) int64.
        n: number of rows of the result.

    Returns:
        (n, n_channels), zero where a row has no edges.
    """
    runs = rows.dim() == 1
    result: Tensor = torch.ops.hermnet.product_sum(values, weights, rows, senders, n, runs)
    return result


def takes(values: Tensor, weights: Tensor) -> bool:
    """Whether there is a kernel for these."""
    if values.is_cuda:
        return may_take_on_gpu(values, weights)
    return may_take(values, weights) and library("convolution") is not None


_LIBRARY = torch.library.Library("hermnet", "FRAGMENT")
_LIBRARY.define(
    "product_sum(Tensor a, Tensor b, Tensor to, Tensor from_, SymInt n, bool runs) -> Tensor"
)
_LIBRARY.define("edge_product(Tensor a, Tensor b, Tensor to, Tensor from_, bool runs) -> Tensor")


def _call(
    which: int, a: Tensor, b: Tensor, ends: tuple[Tensor, Tensor], out: Tensor, runs: bool
) -> None:
    tensors = [*(t.contiguous() for t in (*ends, a, b)), out]
    n_edges, n_ways = len(ends[0]), math.prod(ends[0].shape[1:])
    rows = (len(out), len(a)) if which == 0 else (len(a), len(b))
    sizes = [n_edges, n_ways, out.shape[1], *rows, int(runs), n_threads()]
    words = sizes + [t.data_ptr() for t in tensors]
    function = getattr(library("convolution"), f"hermnet_convolution_{SUFFIX[out.dtype]}")
    function(which, (ctypes.c_int64 * len(words))(*words))


def _product_sum(a: Tensor, b: Tensor, to: Tensor, from_: Tensor, n: int, runs: bool) -> Tensor:
    out = a.new_zeros(n, a.shape[1])
    _call(0, a, b, (to, from_), out, runs)
    return out


def _edge_product(a: Tensor, b: Tensor, to: Tensor, from_: Tensor, runs: bool) -> Tensor:
    out = a.new_empty(to.shape[0], a.shape[1])
    _call(1, a, b, (to, from_), out, runs)
    return out


def _plain_sum(a: Tensor, b: Tensor, to: Tensor, from_: Tensor, n: int, runs: bool) -> Tensor:
    return a.new_zeros(n, a.shape[1]).index_add(0, to, a.index_select(0, from_) * b)


def _plain_product(a: Tensor, b: Tensor, to: Tensor, from_: Tensor, runs: bool) -> Tensor:
    return a.index_select(0, to) * b.index_select(0, from_)


def _fake_sum(a: Tensor, b: Tensor, to: Tensor, from_: Tensor, n: int, runs: bool) -> Tensor:
    return a.new_empty(n, a.shape[1])


def _fake_product(a: Tensor, b: Tensor, to: Tensor, from_: Tensor, runs: bool) -> Tensor:
    return a.new_empty(to.shape[0], a.shape[1])


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:4])
    ctx.runs = inputs[-1]


def _sum_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    a, b, to, from_ = ctx.saved_tensors
    for_a, for_b = wanted(ctx, 2)
    ops = torch.ops.hermnet
    return (
        ops.product_sum(grad, b, from_, to, a.shape[0], False) if for_a else None,
        ops.edge_product(grad, a, to, from_, ctx.runs) if for_b else None,
        *[None] * 4,
    )


def _product_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    a, b, to, from_ = ctx.saved_tensors
    for_a, for_b = wanted(ctx, 2)
    product = torch.ops.hermnet.product_sum
    return (
        product(b, grad, to, from_, a.shape[0], ctx.runs) if for_a else None,
        product(a, grad, from_, to, b.shape[0], False) if for_b else None,
        *[None] * 3,
    )


for _name, _implementation, _plain, _fake, _backward in (
    ("product_sum", _product_sum, _plain_sum, _fake_sum, _sum_backward),
    ("edge_product", _edge_product, _plain_product, _fake_product, _product_backward),
):
    implement(_LIBRARY, _name, _implementation, by="convolution")
    _checked = FirstUse("hermnet.kernels.triton_convolution", _name, _plain, by_last=True)
    _LIBRARY.impl(_name, _checked, "CUDA")
    torch.library.register_fake(f"hermnet::{_name}", _fake, lib=_LIBRARY)
    torch.library.register_autograd(
        f"hermnet::{_name}", _backward, setup_context=_save, lib=_LIBRARY
    )
