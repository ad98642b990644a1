"""Whether kernels of our own are used, or operators of torch only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import torch
from torch import Tensor

_T = TypeVar("_T")
SUFFIX = {torch.float32: "float", torch.float64: "double"}  # of functions in C++
_plain: ContextVar[bool] = ContextVar("plain_operators", default=False)
_most_threads: ContextVar[int | None] = ContextVar("most_threads", default=None)


@contextmanager
def holding(variable: ContextVar[_T], value: _T) -> Iterator[None]:
    """Inside the `with` block a variable has this value."""
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


def plain_operators(plain: bool = True) -> AbstractContextManager[None]:
    """Inside the `with` block use operators of torch only, for what must run without this code."""
    return holding(_plain, plain)


def at_most_threads(number: int) -> AbstractContextManager[None]:
    """Inside the `with` block kernels in C++ use no more threads, however many torch has."""
    return holding(_most_threads, number)


def n_threads() -> int:
    """Threads for a kernel in C++."""
    most, threads = _most_threads.get(), torch.get_num_threads()
    return threads if most is None else min(most, threads)


def is_plain() -> bool:
    """Whether this is inside `plain_operators`."""
    return _plain.get()


def may_take(*tensors: Tensor) -> bool:
    """Whether kernels are wanted, and made for the place and the dtype of these tensors."""
    dtype = tensors[0].dtype
    return (
        not _plain.get()
        and dtype in SUFFIX
        and all(t.device.type == "cpu" and t.dtype == dtype for t in tensors)
    )


def bits(flags: Sequence[bool]) -> int:
    """Flags as the bits of a number, the first one lowest."""
    return sum(bool(flag) << k for k, flag in enumerate(flags))


def wanted(ctx: Any, n: int) -> tuple[bool, ...]:
    """Whether this backward pass asks for the gradients of an operator's first `n` inputs.

    ``needs_input_grad`` says only that an input has one. Forces want no gradients of the weights,
    which operators of torch do not compute then either.

    Args:
        ctx: of the operator, in its backward pass.
        n: number of inputs, all of them tensors.
    """
    nodes = [node for node, _ in ctx.next_functions[:n]]
    needs = zip(ctx.needs_input_grad[:n], nodes, strict=True)
    return tuple(need and node is not None and _runs(node) for need, node in needs)


def _runs(node: Any) -> bool:
    try:
        return bool(torch._C._will_engine_execute_node(node))
    except RuntimeError:  # its refusal for leaves whose gradient is asked for
        return True
