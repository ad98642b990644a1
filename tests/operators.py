"""What tests of operators share: all derivatives, numbers of threads, rounding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from hermnet.kernels import first_use

Function = Callable[..., Tensor]


def derivatives(function: Function, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Value, gradients, and gradients of the gradients along random directions."""
    generator = torch.Generator().manual_seed(0)

    def like(t: Tensor) -> Tensor:
        return torch.randn(t.shape, dtype=torch.float64, generator=generator).to(t)

    y = function(*inputs)
    weight = like(y).requires_grad_()
    first = torch.autograd.grad(y, inputs, weight, create_graph=True)
    second = torch.autograd.grad(first, [*inputs, weight], [like(g) for g in first])
    return [t.detach() for t in (y, *first, *second)]


def assert_equal_derivatives(found: Function, expected: Function, inputs: Sequence[Tensor]) -> None:
    """Both functions have the same value and derivatives to rounding (float64)."""
    pairs = zip(derivatives(found, inputs), derivatives(expected, inputs), strict=True)
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def assert_float32_is_close(function: Function, inputs: Sequence[Tensor]) -> None:
    """In float32 it is within 1e-5 of the largest value of what it is in float64."""
    found = derivatives(function, inputs)
    exact = derivatives(function, [t.detach().double().requires_grad_() for t in inputs])
    assert found[0].dtype == torch.float32
    for one, other in zip(found, exact, strict=True):
        assert (one.double() - other).abs().max() < 1e-5 * other.abs().max()


def assert_closed(function: Function, inputs: Sequence[Tensor]) -> None:
    """Its derivatives, and theirs, are those of finite differences."""
    assert gradcheck(function, inputs)
    assert gradgradcheck(function, inputs)


@contextmanager
def threads(number: int) -> Iterator[None]:
    """So many threads in the ``with`` block."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def play_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on `FirstUse` takes the CPU for a GPU that all makers of kernels know."""

    def is_served(*tensors: Tensor, maker: str = "Triton") -> bool:
        return (maker, tensors[0].device, tensors[0].dtype) not in first_use._refused

    monkeypatch.setattr(first_use, "_refused", set())
    monkeypatch.setattr(first_use, "is_served", is_served)
    monkeypatch.setattr(first_use, "_has_tf32", lambda: False)  # a real GPU would be asked
    monkeypatch.setattr(torch.cuda, "device", lambda _: nullcontext())
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
