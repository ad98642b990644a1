"""Filtered vector messages as operators of torch that close under two derivatives.

`filtered_message` is what PaiNN and RMConv sum over an atom's neighbors. Written with operators of
torch it makes a dozen tensors of edges x channels, which have to go through memory; the kernel
makes none. Its derivative is an operator too, and so is the derivative of that, which is what a
loss on forces needs. Neither first nor second derivative can be differentiated once more than that.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hermnet.kernels import plain_message
from hermnet.kernels.choice import SUFFIX, may_take, n_threads
from hermnet.kernels.closing import all_but_last, close, dense
from hermnet.kernels.first_use import FirstUse, may_take_on_gpu
from hermnet.kernels.library import implement, library

_ALIGNMENT = 16  # bytes: channels that fill the shortest vector of the kernel


class Edges(NamedTuple):
    """Who sends to whom; sorted by slot (relation and side), then by receiving row.

    On CPUs an edge may go two ways, with all but `ends` (n_edges, 2): there, by which it is sorted,
    and back along the opposite direction. The row is `n_rows` where nothing goes back.
    """

    ends: Tensor  # (n_slots,) int32, where the edges of each slot end
    rows: Tensor  # (n_edges,) int64, the receiving row; there none belongs to two slots
    neighbors: Tensor  # (n_edges,) int64, the row of `phi`
    atoms: Tensor  # (n_edges,) int64, the row of `v`


def filtered_message(
    phi: Tensor, v: Tensor, basis: Tensor, dirs: Tensor, weight: Tensor, edges: Edges, n_rows: int
) -> Tensor:
    """``sum_e [phi_s f_s ; phi_r f_r d_e + phi_v f_v v]`` with ``f_e = basis_e W_slot(e)``.

    Args:
        phi: (n_sources, 3 n_channels), parts s, r and v.
        v: (n_atoms, 3, n_channels); on a CPU (0, 3, n_channels) where all are zero.
        basis: (n_edges, n_basis or more); columns beyond those of the weights are ignored.
        dirs: (n_edges, 3).
        weight: (n_slots or 1, n_basis, 3 n_channels).
        edges: the edges.
        n_rows: number of receiving rows.

    Returns:
        (n_rows, 4, n_channels), zero where a row has no edges.
    """
    result: Tensor = torch.ops.hermnet.message(phi, v, basis, dirs, weight, *edges, n_rows)
    return result


def takes(phi: Tensor, v: Tensor, basis: Tensor) -> bool:
    """Whether there is a kernel for these."""
    if phi.is_cuda:
        return may_take_on_gpu(phi, v, basis)
    aligned = v.shape[-1] * phi.element_size() % _ALIGNMENT == 0
    return may_take(phi, v, basis) and aligned and library("message") is not None


_LIBRARY = torch.library.Library("hermnet", "FRAGMENT")
_INPUTS = "Tensor phi, Tensor v, Tensor basis, Tensor dirs, Tensor weight"
_EDGES = "Tensor ends, Tensor rows, Tensor neighbors, Tensor atoms"
_TANGENTS = "Tensor? t_phi, Tensor? t_v, Tensor? t_basis, Tensor? t_dirs, Tensor? t_weight"
_FIVE = "(Tensor, Tensor, Tensor, Tensor, Tensor)"
# `needs` says which results are wanted, one bit for each; the others are empty.
_LIBRARY.define(f"message({_INPUTS}, {_EDGES}, SymInt n_rows) -> Tensor")
_LIBRARY.define(f"message_first(Tensor grad, {_INPUTS}, {_EDGES}, int needs) -> {_FIVE}")
_LIBRARY.define(
    f"message_second({_TANGENTS}, Tensor grad, {_INPUTS}, {_EDGES}, int needs)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)"
)


def _call(
    which: int,
    inputs: Sequence[Tensor],
    edges: Sequence[Tensor],
    grad: Tensor | None,
    tangents: Sequence[Tensor | None],
    results: Sequence[Tensor | None],
) -> None:
    """Run the kernel; see `Args` in message_filters.h for the order."""
    phi, v, basis, _, weight = inputs
    ends, rows = edges[:2]
    t_v, out = tangents[1], results[0]
    summed = grad if out is None else out
    assert summed is not None, "there are sums or their gradient"
    sizes = [
        rows.shape[0],
        math.prod(rows.shape[1:]),
        summed.shape[0],
        ends.shape[0],
        weight.shape[0],
        v.shape[2],
        weight.shape[1],
        basis.shape[1],
        n_threads(),
        phi.shape[0],
        v.shape[0],
        v.stride(0),
        0 if t_v is None else t_v.stride(0),
    ]
    pointers = [*edges, *inputs, grad, *tangents, *results]
    words = sizes + [0 if t is None or t.numel() == 0 else t.data_ptr() for t in pointers]
    function = getattr(library("message"), f"hermnet_message_{SUFFIX[phi.dtype]}")
    function(which, (ctypes.c_int64 * len(words))(*words))


def _rows_dense(v: Tensor | None) -> Tensor | None:
    """A tensor (n, 3, n_channels) whose rows are in one piece, however far apart."""
    if v is None or (v.stride(2) == 1 and v.stride(1) == v.shape[2]):
        return v
    return v.contiguous()


def _prepared(inputs: Sequence[Tensor]) -> list[Tensor]:
    phi, v, *others = inputs
    return [phi.contiguous(), _rows_dense(v), *dense(others)]


def _message(*arguments: Any) -> Tensor:
    *inputs, ends, rows, neighbors, atoms, n_rows = arguments
    out: Tensor = inputs[0].new_zeros(n_rows, 4, inputs[1].shape[2])
    edges = dense((ends, rows, neighbors, atoms))
    _call(0, _prepared(inputs), edges, None, [None] * 5, [out] + [None] * 5)
    return out


def _empty(like: Tensor, wanted: int, zero: bool) -> Tensor:
    if not wanted:
        return like.new_empty(0)
    return like.new_zeros(like.shape) if zero else like.new_empty(like.shape)


def _gradients(inputs: Sequence[Tensor], needs: int) -> tuple[Tensor, ...]:
    """Room for the gradients; that of the directions is written once and needs no zeros."""
    return tuple(_empty(t, needs >> k & 1, zero=k != 3) for k, t in enumerate(inputs))


def _message_first(grad: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    *inputs, ends, rows, neighbors, atoms, needs = arguments
    results = _gradients(inputs, needs)
    edges = dense((ends, rows, neighbors, atoms))
    _call(1, _prepared(inputs), edges, grad.contiguous(), [None] * 5, [None, *results])
    return results


def _message_second(*arguments: Any) -> tuple[Tensor, ...]:
    t_phi, t_v, *others = arguments[:5]
    grad, *inputs = arguments[5:11]
    edges, needs = dense(arguments[11:15]), arguments[15]
    out = grad.new_zeros(grad.shape)
    results = _gradients(inputs, needs >> 1)
    tangents = [*dense([t_phi]), _rows_dense(t_v), *dense(others)]
    _call(2, _prepared(inputs), edges, grad.contiguous(), tangents, [out, *results])
    return out, *results


def _fake_message(*arguments: Any) -> Tensor:
    phi, v, n_rows = arguments[0], arguments[1], arguments[-1]
    result: Tensor = phi.new_empty(n_rows, 4, v.shape[2])
    return result


def _fake_first(*arguments: Any) -> tuple[Tensor, ...]:
    return _gradients(arguments[1:6], arguments[-1])


def _fake_second(*arguments: Any) -> tuple[Tensor, ...]:
    grad = arguments[5]
    return grad.new_empty(grad.shape), *_gradients(arguments[6:11], arguments[-1] >> 1)


for _name, _implementation, _fake in (
    ("message", _message, _fake_message),
    ("message_first", _message_first, _fake_first),
    ("message_second", _message_second, _fake_second),
):
    implement(_LIBRARY, _name, _implementation, by="message")
    _plain, _by_needs = getattr(plain_message, _name), _name != "message"
    _checked = FirstUse("hermnet.kernels.gpu_message", _name, _plain, _by_needs)
    _LIBRARY.impl(_name, _checked, "CUDA")
    torch.library.register_fake(f"hermnet::{_name}", _fake, lib=_LIBRARY)
close(_LIBRARY, "message", 5, all_but_last, all_but_last)
