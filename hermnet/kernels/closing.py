"""Three operators of torch that close under two derivatives, as a loss on forces needs.

A kernel has a value, its derivative and the derivative of that, of which the last two are
operators too. Neither can be differentiated once more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from hermnet.kernels.choice import bits, wanted

Saved = Callable[[tuple[Any, ...], Any], Sequence[Tensor | None]]


def close(library: torch.library.Library, name: str, n: int, value: Saved, first: Saved) -> None:
    """Register the derivatives of an operator of ``hermnet``.

    There are to be three::

        name(inputs, ...) -> value
        name_first(grad, saved of value, needs) -> gradients by inputs, ...
        name_second(tangents, saved of first, needs) -> gradients by grad and inputs

    with one tangent for each gradient, and in `needs` one bit for each result that is wanted.

    Args:
        library: where they are defined.
        name: of the operator.
        n: how many inputs have gradients; they come first.
        value: from its arguments and results what its derivative gets.
        first: from the arguments and results of ``name_first`` what its derivative gets.
    """

    def backward(ctx: Any, grad: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
        needs, found = wanted(ctx, n), [None] * ctx.n_arguments
        if grad is not None:
            operator = getattr(torch.ops.hermnet, f"{name}_first")
            _fill(found, operator(grad, *ctx.saved_tensors, bits(needs)), needs)
        return tuple(found)

    def backward_of_first(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor | None, ...]:
        needs, found = wanted(ctx, n + 1), [None] * ctx.n_arguments
        given = [t if t is not None and t.numel() else None for t in tangents[:n]]
        if any(t is not None for t in given):
            operator = getattr(torch.ops.hermnet, f"{name}_second")
            _fill(found, operator(*given, *ctx.saved_tensors, bits(needs)), needs)
        return tuple(found)

    for operator, derivative, saved in (
        (name, backward, value),
        (f"{name}_first", backward_of_first, first),
    ):
        torch.library.register_autograd(
            f"hermnet::{operator}", derivative, setup_context=_saving(saved), lib=library
        )


def _fill(found: list[Any], results: Sequence[Tensor], needs: Sequence[bool]) -> None:
    for k, need in enumerate(needs):
        found[k] = results[k] if need else None


def dense(tensors: Sequence[Any]) -> list[Any]:
    """The same in one piece each, where there is one."""
    return [None if t is None else t.contiguous() for t in tensors]


def all_but_last(arguments: tuple[Any, ...], _: Any) -> Sequence[Tensor | None]:
    """Of an operator's arguments, which end with a number, those that are tensors."""
    return arguments[:-1]


def _saving(saved: Saved) -> Callable[..., None]:
    def save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*saved(inputs, output))
        ctx.set_materialize_grads(False)
        ctx.n_arguments = len(inputs)

    return save
