"""Two layers with SiLU between them, each relation's rows by its own weights, as operators.

Written with operators of torch this gathers rows, appends columns of ones, multiplies segment by
segment and makes a dozen tensors for the second derivative of SiLU alone. The kernel does it in one
pass; its derivative is an operator too, and so is the derivative of that, which is what a loss on
forces needs. Neither first nor second derivative can be differentiated once more than that.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hermnet.kernels.choice import SUFFIX, may_take, n_threads
from hermnet.kernels.closing import close, dense
from hermnet.kernels.library import implement, library

_ALIGNMENT = 16  # bytes: columns that fill the shortest vector of the kernel


def perceptron(x: Tensor, w1: Tensor, w2: Tensor, atoms: Tensor | None, ends: Tensor) -> Tensor:
    """``silu([x, 1] W1_r) W2_r`` with the bias of each layer as the last row of its matrix.

    Args:
        x: (n_atoms, n_in); rows may lie apart.
        w1: (n_relations or 1, n_in + 1, n_hidden).
        w2: (n_relations or 1, n_hidden + 1, n_out).
        atoms: (n_rows,) int64, the row of `x`; None where they are the same.
        ends: (n_relations,) int32, where the rows of each relation end.

    Returns:
        (n_rows, n_out).
    """
    result: Tensor = torch.ops.hermnet.perceptron(x, w1, w2, atoms, ends)[0]
    return result


def takes(x: Tensor, w1: Tensor, w2: Tensor) -> bool:
    """Whether there is a kernel for these."""
    columns = (w1.shape[1] - 1, w1.shape[2], w2.shape[2])
    aligned = all(n * x.element_size() % _ALIGNMENT == 0 for n in columns)
    fits = x.dim() == 2 and x.shape[1] == columns[0] and w1.shape[0] == w2.shape[0]
    return fits and aligned and may_take(x, w1, w2) and library("perceptron") is not None


_LIBRARY = torch.library.Library("hermnet", "FRAGMENT")
_INPUTS = "Tensor x, Tensor w1, Tensor w2"
_ROWS = "Tensor? atoms, Tensor ends"
_TANGENTS = "Tensor? t_x, Tensor? t_w1, Tensor? t_w2"
# `hidden` is what the first layer gives, `inner` the gradient by what the second one gets: kept for
# the derivatives that need them again. `needs` says which results are wanted, one bit for each.
_LIBRARY.define(f"perceptron({_INPUTS}, {_ROWS}) -> (Tensor out, Tensor hidden)")
_LIBRARY.define(
    f"perceptron_first(Tensor grad, {_INPUTS}, Tensor hidden, {_ROWS}, int needs)"
    " -> (Tensor, Tensor, Tensor, Tensor inner)"
)
_LIBRARY.define(
    f"perceptron_second({_TANGENTS}, Tensor grad, {_INPUTS}, Tensor hidden, Tensor inner, {_ROWS},"
    " int needs) -> (Tensor, Tensor, Tensor, Tensor)"
)


def _call(
    which: int,
    inputs: Sequence[Tensor],
    rows: tuple[Tensor | None, Tensor],
    given: Sequence[Tensor | None],
    results: Sequence[Tensor | None],
) -> None:
    """Run the kernel; see `Args` in perceptron.cpp for the order."""
    x, w1, w2 = inputs
    atoms, ends = rows
    t_x = given[3]
    sizes = [
        x.shape[0] if atoms is None else atoms.shape[0],
        ends.shape[0],
        w1.shape[0],
        w1.shape[1] - 1,
        w1.shape[2],
        w2.shape[2],
        n_threads(),
        x.shape[0],
        x.stride(0),
        0 if t_x is None else t_x.stride(0),
    ]
    pointers = [ends, atoms, *inputs, *given, *results]
    words = sizes + [0 if t is None or t.numel() == 0 else t.data_ptr() for t in pointers]
    function = getattr(library("perceptron"), f"hermnet_perceptron_{SUFFIX[x.dtype]}")
    function(which, (ctypes.c_int64 * len(words))(*words))


def _rows_dense(x: Tensor | None) -> Tensor | None:
    """A tensor (n, n_in) whose rows are in one piece, however far apart."""
    return x if x is None or x.stride(1) == 1 else x.contiguous()


def _perceptron(
    x: Tensor, w1: Tensor, w2: Tensor, atoms: Tensor | None, ends: Tensor
) -> tuple[Tensor, Tensor]:
    out, hidden = _fake(x, w1, w2, atoms, ends)
    inputs = [_rows_dense(x), *dense((w1, w2))]
    _call(0, inputs, (*dense((atoms, ends)),), [None] * 6, [out, hidden] + [None] * 4)
    return out, hidden


def _fake(
    x: Tensor, w1: Tensor, w2: Tensor, atoms: Tensor | None, ends: Tensor
) -> tuple[Tensor, Tensor]:
    n_rows = x.shape[0] if atoms is None else atoms.shape[0]
    return x.new_empty(n_rows, w2.shape[2]), x.new_empty(n_rows, w1.shape[2])


def _gradients(inputs: Sequence[Tensor], needs: int) -> tuple[Tensor, ...]:
    """Room for the gradients that are wanted; that of `x` is added to, the others are written."""
    sizes = [t.shape if needs >> k & 1 else (0,) for k, t in enumerate(inputs)]
    x, *weights = inputs
    return x.new_zeros(sizes[0]), *(w.new_empty(s) for w, s in zip(weights, sizes[1:], strict=True))


def _first(grad: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    x, w1, w2, hidden, atoms, ends, needs = arguments
    results = _gradients((x, w1, w2), needs)
    inner = hidden.new_empty(hidden.shape)
    inputs = [_rows_dense(x), *dense((w1, w2))]
    given = [hidden, grad.contiguous(), None, None, None, None]
    _call(1, inputs, (*dense((atoms, ends)),), given, [None, None, inner, *results])
    return *results, inner


def _second(*arguments: Any) -> tuple[Tensor, ...]:
    t_x, t_w1, t_w2, grad, x, w1, w2, hidden, inner, atoms, ends, needs = arguments
    out = grad.new_empty(grad.shape)
    results = _gradients((x, w1, w2), needs >> 1)
    tangents = [_rows_dense(t_x), *dense((t_w1, t_w2))]
    inputs = [_rows_dense(x), *dense((w1, w2))]
    given = [hidden, grad.contiguous(), inner, *tangents]
    _call(2, inputs, (*dense((atoms, ends)),), given, [out, None, None, *results])
    return out, *results


def _fake_first(grad: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    return *_gradients(arguments[:3], arguments[-1]), arguments[3].new_empty(arguments[3].shape)


def _fake_second(*arguments: Any) -> tuple[Tensor, ...]:
    grad = arguments[3]
    return grad.new_empty(grad.shape), *_gradients(arguments[4:7], arguments[-1] >> 1)


def _saved(arguments: tuple[Any, ...], results: Any) -> tuple[Tensor | None, ...]:
    *inputs, atoms, ends = arguments
    return *inputs, results[1], atoms, ends


def _saved_by_first(arguments: tuple[Any, ...], results: Any) -> tuple[Tensor | None, ...]:
    *given, atoms, ends, _ = arguments
    return *given, results[3], atoms, ends


for _name, _implementation, _shapes in (
    ("perceptron", _perceptron, _fake),
    ("perceptron_first", _first, _fake_first),
    ("perceptron_second", _second, _fake_second),
):
    implement(_LIBRARY, _name, _implementation, by="perceptron")
    torch.library.register_fake(f"hermnet::{_name}", _shapes, lib=_LIBRARY)
close(_LIBRARY, "perceptron", 3, _saved, _saved_by_first)
