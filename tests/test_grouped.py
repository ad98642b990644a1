"""Products segment by segment: values, two orders of derivatives, and tracing."""

from __future__ import annotations

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import gradcheck, gradgradcheck

from hermnet import grouped
from hermnet.grouped import grouped_matmul, tracing

COUNTS = (4, 0, 3, 2)


def example(dtype: torch.dtype = torch.float64, n_in: int = 3, n_out: int = 2):
    """Rows, weights and ends of segments."""
    rows = torch.randn(sum(COUNTS), n_in, dtype=dtype, requires_grad=True)
    weights = torch.randn(len(COUNTS), n_in, n_out, dtype=dtype, requires_grad=True)
    return rows, weights, torch.tensor(COUNTS).cumsum(0).to(torch.int32)


def loop(rows: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    parts = [part @ weight for part, weight in zip(rows.split(COUNTS), weights, strict=True)]
    return torch.cat(parts)


def test_matmul_equals_a_loop():
    rows, weights, offsets = example()
    torch.testing.assert_close(grouped_matmul(rows, weights, offsets), loop(rows, weights))


def test_outer_equals_a_loop():
    rows, _, offsets = example()
    others = torch.randn(len(rows), 5, dtype=torch.float64)
    pairs = zip(rows.split(COUNTS), others.split(COUNTS), strict=True)
    expected = torch.stack([a.T @ c for a, c in pairs])
    torch.testing.assert_close(torch.ops.hermnet.segment_outer(rows, others, offsets), expected)


def test_both_operators_close_under_differentiation():
    rows, weights, offsets = example()
    others = torch.randn(len(rows), 2, dtype=torch.float64, requires_grad=True)
    cases = [
        (torch.ops.hermnet.segment_matmul, (rows, weights)),
        (torch.ops.hermnet.segment_outer, (rows, others)),
    ]
    for operator, inputs in cases:
        assert gradcheck(lambda a, b, f=operator: f(a, b, offsets), inputs)
        assert gradgradcheck(lambda a, b, f=operator: f(a, b, offsets), inputs)


# torch's own check looks at the gradient of a tensor that is no leaf
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize("operator", ["segment_matmul", "segment_outer"])
def test_operators_keep_the_rules_of_torch(operator: str):
    rows, weights, offsets = example()
    second = weights if operator == "segment_matmul" else torch.randn(len(rows), 2).double()
    function = getattr(torch.ops.hermnet, operator).default
    torch.library.opcheck(function, (rows, second, offsets))


def test_fake_tensors_have_the_real_shapes():
    with FakeTensorMode() as mode:
        rows, weights, offsets = (mode.from_tensor(t) for t in _without_mode())
        assert grouped_matmul(rows, weights, offsets).shape == (9, 2)
        assert torch.ops.hermnet.segment_outer(rows, rows, offsets).shape == (4, 3, 3)


def _without_mode():
    with torch._C._DisableTorchDispatch():
        return example()


@pytest.mark.skipif(not grouped._HAS_GROUPED_MM, reason="this torch has no grouped_mm")
def test_grouped_mm_and_the_operator_agree_to_second_order():
    rows, weights, offsets = example(torch.float32, n_in=8, n_out=4)
    assert grouped._grouped_mm_takes(rows, weights)
    target = torch.randn(len(rows), 4)

    def derivatives(*inputs: torch.Tensor, matmul) -> list[torch.Tensor]:
        y = matmul(*inputs)
        first = torch.autograd.grad((y.square() * target).sum(), inputs, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), inputs)
        return [y, *first, *second]

    def operator(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        with tracing():
            return grouped_matmul(a, b, offsets)

    fast = derivatives(rows, weights, matmul=lambda a, b: grouped_matmul(a, b, offsets))
    exact = derivatives(rows.double(), weights.double(), matmul=loop)
    for matmul in (operator, loop):
        for one, other in zip(derivatives(rows, weights, matmul=matmul), exact, strict=True):
            torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-4)
    for one, other in zip(fast, exact, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-4)


def test_where_grouped_mm_is_refused():
    rows, weights, _ = example(torch.float32, n_in=8, n_out=4)
    assert not grouped._grouped_mm_takes(rows.double(), weights.double())
    assert not grouped._grouped_mm_takes(rows, weights[:, :, :3])
    assert not grouped._grouped_mm_takes(rows[:0], weights)
