"""Linear layers of segments: values against a loop, and all orders of derivatives."""

from __future__ import annotations

import pytest
import torch
from operators import assert_closed, assert_equal_derivatives, threads
from torch import Tensor

from hermnet.kernels import affine as module
from hermnet.kernels.affine import affine, takes
from hermnet.kernels.choice import plain_operators
from hermnet.kernels.library import library

pytestmark = pytest.mark.skipif(library("affine") is None, reason="there is no C++ compiler")


def example(
    counts: tuple[int, ...], n_in: int, n_out: int, bias: bool, extra: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Rows with columns that do not count, weights, ends of segments."""
    rows = torch.randn(sum(counts), n_in + extra, dtype=torch.float64, requires_grad=True)
    shape = len(counts), n_in + bias, n_out
    weights = torch.randn(*shape, dtype=torch.float64, requires_grad=True)
    return rows, weights, torch.tensor(counts).cumsum(0).to(torch.int32)


def loop(rows: Tensor, weights: Tensor, offsets: Tensor, bias: bool) -> Tensor:
    counts = offsets.diff(prepend=offsets.new_zeros(1)).tolist()
    n_in = weights.shape[1] - bias
    parts = [
        part[:, :n_in] @ weight[:n_in] + (weight[n_in] if bias else 0.0)
        for part, weight in zip(rows.split(counts), weights, strict=True)
    ]
    return torch.cat(parts)


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("counts", "n_in", "n_out", "extra"),
    [((4, 0, 3), 8, 24, 0), ((300, 1, 21), 64, 28, 0), ((30, 20), 5, 2, 3), ((7, 2), 1, 6, 0)],
)
def test_equals_a_loop(counts, n_in: int, n_out: int, extra: int, bias: bool, n_threads: int):
    *inputs, offsets = example(counts, n_in, n_out, bias, extra)
    with threads(n_threads):
        assert_equal_derivatives(
            lambda *a: affine(*a, offsets, bias), lambda *a: loop(*a, offsets, bias), inputs
        )


@pytest.mark.parametrize("extra", [0, 2])
@pytest.mark.parametrize("bias", [0, 1, 2], ids=["none", "added", "zero"])
def test_operators_close_under_differentiation(bias: int, extra: int):
    rows, weights, offsets = example((3, 0, 2), 3, 2, bias > 0, extra)
    others = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)
    ops = torch.ops.hermnet
    for operator, inputs, rest in (
        (ops.affine, (rows, weights), (offsets, bias)),
        (ops.affine_back, (others, weights), (offsets, bias, 3 + extra)),
        (ops.affine_outer, (rows, others), (offsets, bias, 3)),
    ):
        assert_closed(lambda a, b, f=operator, r=rest: f(a, b, *r), inputs)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_operators_keep_the_rules_of_torch():
    rows, weights, offsets = example((3, 0, 2), 4, 2, bias=True)
    others = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)
    ops = torch.ops.hermnet
    torch.library.opcheck(ops.affine.default, (rows, weights, offsets, 1))
    torch.library.opcheck(ops.affine_back.default, (others, weights, offsets, 1, 6))
    torch.library.opcheck(ops.affine_outer.default, (rows, others, offsets, 1, 4))


def test_rows_may_lie_apart():
    rows, weights, offsets = example((3, 2), 4, 2, bias=True)
    apart = torch.stack((rows, rows), dim=1)[:, 0]
    assert not apart.is_contiguous()
    found, expected = (affine(x, weights, offsets, True) for x in (apart, rows))
    torch.testing.assert_close(found, expected)


def test_where_there_is_no_kernel(monkeypatch: pytest.MonkeyPatch):
    rows, weights, _ = example((3, 2), 4, 2, bias=False)
    assert takes(rows, weights)
    assert not takes(rows.float(), weights), "mixed dtypes"
    assert not takes(rows, weights[:, :, :1]), "columns that fill no vector"
    with plain_operators():
        assert not takes(rows, weights)
    monkeypatch.setattr(module, "library", lambda _: None)
    assert not takes(rows, weights)
