"""Whether kernels of our own are used, or operators of torch only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

SUFFIX = {torch.float32: "float", torch.float64: "double"}  # of functions in C++
_plain: ContextVar[bool] = ContextVar("plain_operators", default=False)


@contextmanager
def plain_operators(plain: bool = True) -> Iterator[None]:
    """Inside the `with` block use operators of torch only, for what must run without this code."""
    token = _plain.set(plain)
    try:
        yield
    finally:
        _plain.reset(token)


def may_take(*tensors: Tensor) -> bool:
    """Whether kernels are wanted, and made for the place and the dtype of these tensors."""
    dtype = tensors[0].dtype
    return (
        not _plain.get()
        and dtype in SUFFIX
        and all(t.device.type == "cpu" and t.dtype == dtype for t in tensors)
    )
