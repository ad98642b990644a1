"""Matrix products segment by segment: every relation's rows times that relation's matrix.

`torch.nn.functional.grouped_mm` does this in one call where it can (float32 and shorter, rows of a
multiple of 16 bytes). Elsewhere, and wherever the model is traced for compilation, two operators of
our own stand in, on GPUs as kernels in Triton where there is Triton, else as loops. They are each
other's derivatives, so any order of differentiation closes:

    C_r = A_r B_r          segment_matmul     rows of A and C are sorted by r
    B_r = A_r^T C_r        segment_outer
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hermnet.kernels.choice import holding
from hermnet.kernels.first_use import FirstUse

_HAS_GROUPED_MM = "grouped_mm" in dir(F)
_ALIGNMENT = 16  # bytes; grouped_mm refuses other strides
_tracing: ContextVar[bool] = ContextVar("grouped_tracing", default=False)


def tracing() -> AbstractContextManager[None]:
    """Inside the `with` block use the operators, which symbolic tracing can see through."""
    return holding(_tracing, True)


def is_tracing() -> bool:
    """Whether a model is traced for compilation, inside `tracing`."""
    return _tracing.get()


def grouped_matmul(rows: Tensor, weights: Tensor, offsets: Tensor) -> Tensor:
    """Multiply each segment of rows by its own matrix.

    Args:
        rows: (n_rows, n_in), sorted by segment.
        weights: (n_segments, n_in, n_out).
        offsets: (n_segments,) int32, where each segment ends; an empty one is allowed.

    Returns:
        (n_rows, n_out).
    """
    if not is_tracing() and _grouped_mm_takes(rows, weights):
        product = F.grouped_mm(rows, weights, offs=offsets)
        if product.requires_grad:
            # its derivative refuses expanded gradients, such as those of a sum
            product.register_hook(lambda gradient: gradient.contiguous())
        return product
    result: Tensor = torch.ops.hermnet.segment_matmul(rows, weights, offsets)
    return result


def _grouped_mm_takes(rows: Tensor, others: Tensor) -> bool:
    # On CUDA the kernel takes bfloat16 only; float32 there is left to the operators.
    dtypes = (torch.float32, torch.bfloat16) if rows.device.type == "cpu" else (torch.bfloat16,)
    widths = (rows.shape[1], others.shape[-1])
    aligned = all(n * rows.element_size() % _ALIGNMENT == 0 for n in widths)
    return _HAS_GROUPED_MM and rows.dtype in dtypes and aligned and rows.shape[0] > 0


def _counts(offsets: Tensor) -> list[int]:
    ends = offsets.tolist()
    return [end - start for start, end in zip([0, *ends[:-1]], ends, strict=True)]


# Defined without the decorator `custom_op`, whose wrapper costs more than a small product itself.
_LIBRARY = torch.library.Library("hermnet", "DEF")
_LIBRARY.define("segment_matmul(Tensor rows, Tensor weights, Tensor offsets) -> Tensor")
_LIBRARY.define("segment_outer(Tensor rows, Tensor others, Tensor offsets) -> Tensor")


def _segment_matmul(rows: Tensor, weights: Tensor, offsets: Tensor) -> Tensor:
    if _grouped_mm_takes(rows, weights):
        return F.grouped_mm(rows.contiguous(), weights, offs=offsets)
    result = rows.new_empty(rows.shape[0], weights.shape[2])
    counts = _counts(offsets)
    # unbind, not weights[k]: indexing a stack costs a copy of its gradient for each index
    for a, b, c in zip(rows.split(counts), weights.unbind(0), result.split(counts), strict=True):
        torch.mm(a, b, out=c)
    return result


def _segment_outer(rows: Tensor, others: Tensor, offsets: Tensor) -> Tensor:
    if _grouped_mm_takes(rows, others):
        return F.grouped_mm(rows.contiguous().t(), others.contiguous(), offs=offsets)
    result = rows.new_empty(offsets.shape[0], rows.shape[1], others.shape[1])
    counts = _counts(offsets)
    for a, c, b in zip(rows.split(counts), others.split(counts), result.unbind(0), strict=True):
        torch.mm(a.t(), c, out=b)
    return result


def _on_gpu(name: str, loop: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Any:
    checked = FirstUse("hermnet.kernels.triton_segments", name, loop)

    def operator(rows: Tensor, others: Tensor, offsets: Tensor) -> Any:
        if _grouped_mm_takes(rows, others):
            return loop(rows, others, offsets)
        return checked(rows, others, offsets)

    return operator


def _fake_matmul(rows: Tensor, weights: Tensor, offsets: Tensor) -> Tensor:
    return rows.new_empty(rows.shape[0], weights.shape[2])


def _fake_outer(rows: Tensor, others: Tensor, offsets: Tensor) -> Tensor:
    return rows.new_empty(offsets.shape[0], rows.shape[1], others.shape[1])


def _save(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _matmul_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
    rows, weights, offsets = ctx.saved_tensors
    for_rows, for_weights = ctx.needs_input_grad[:2]
    ops = torch.ops.hermnet
    return (
        ops.segment_matmul(grad, weights.transpose(1, 2), offsets) if for_rows else None,
        ops.segment_outer(rows, grad, offsets) if for_weights else None,
        None,
    )


def _outer_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
    rows, others, offsets = ctx.saved_tensors
    for_rows, for_others = ctx.needs_input_grad[:2]
    ops = torch.ops.hermnet
    return (
        ops.segment_matmul(others, grad.transpose(1, 2), offsets) if for_rows else None,
        ops.segment_matmul(rows, grad, offsets) if for_others else None,
        None,
    )


for _name, _implementation, _fake, _backward in (
    ("segment_matmul", _segment_matmul, _fake_matmul, _matmul_backward),
    ("segment_outer", _segment_outer, _fake_outer, _outer_backward),
):
    _LIBRARY.impl(_name, _implementation, "CompositeExplicitAutograd")
    _LIBRARY.impl(_name, _on_gpu(_name, _implementation), "CUDA")
    torch.library.register_fake(f"hermnet::{_name}", _fake, lib=_LIBRARY)
    torch.library.register_autograd(
        f"hermnet::{_name}", _backward, setup_context=_save, lib=_LIBRARY
    )
