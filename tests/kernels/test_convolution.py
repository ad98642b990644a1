"""Products of gathered rows with rows of edges: values and all orders of derivatives."""

from __future__ import annotations

import pytest
import torch
from operators import assert_closed, assert_equal_derivatives, threads
from torch import Tensor

from hermnet.kernels import convolution
from hermnet.kernels.choice import plain_operators
from hermnet.kernels.convolution import product_sum, takes
from hermnet.kernels.library import library

pytestmark = pytest.mark.skipif(library("convolution") is None, reason="there is no C++ compiler")
N_ROWS, N_SENDERS = 7, 9


def example(n_edges: int, n_channels: int = 3) -> tuple[list[Tensor], tuple[Tensor, Tensor]]:
    """Values and weights; rows, some without edges, and senders."""
    ends = torch.sort(torch.randint(0, N_ROWS, (n_edges,)))[0], torch.randint(N_SENDERS, (n_edges,))
    shapes = (N_SENDERS, n_channels), (n_edges, n_channels)
    return [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes], ends


def plain(values: Tensor, weights: Tensor, rows: Tensor, senders: Tensor) -> Tensor:
    return values.new_zeros(N_ROWS, values.shape[1]).index_add(0, rows, values[senders] * weights)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_equals_gather_multiply_and_add(n_threads: int):
    inputs, ends = example(300)
    with threads(n_threads):
        assert_equal_derivatives(
            lambda *a: product_sum(*a, *ends, N_ROWS), lambda *a: plain(*a, *ends), inputs
        )


def both_ways(n_edges: int) -> tuple[Tensor, Tensor]:
    """Rows and senders for two ways of each edge, of which some go nowhere."""
    rows = torch.randint(N_ROWS, (n_edges, 2))
    rows[::3, 1] = N_ROWS
    return rows, torch.randint(N_SENDERS, (n_edges, 2))


@pytest.mark.parametrize("n_threads", [1, 2])
def test_two_ways_are_two_sums(n_threads: int):
    inputs, _ = example(300)
    rows, senders = both_ways(300)
    there = rows < N_ROWS

    def one_by_one(values: Tensor, weights: Tensor) -> Tensor:
        ways = [(w, there[:, w]) for w in (0, 1)]
        return sum(plain(values, weights[k], rows[k, w], senders[k, w]) for w, k in ways)

    with threads(n_threads):
        assert_equal_derivatives(
            lambda *a: product_sum(*a, rows, senders, N_ROWS), one_by_one, inputs
        )


@pytest.mark.parametrize("n_ways", [1, 2])
def test_both_operators_close_under_differentiation(n_ways: int):
    (values, weights), ends = example(12)
    rows, senders = ends if n_ways == 1 else both_ways(12)
    others = torch.randn(N_ROWS, 3, dtype=torch.float64, requires_grad=True)
    runs = n_ways == 1
    for operator, inputs, rest in (
        (torch.ops.hermnet.product_sum, (values, weights), (rows, senders, N_ROWS, runs)),
        (torch.ops.hermnet.edge_product, (others, values), (rows, senders, runs)),
    ):
        assert_closed(lambda a, b, f=operator, r=rest: f(a, b, *r), inputs)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_operators_keep_the_rules_of_torch():
    (values, weights), ends = example(9)
    torch.library.opcheck(
        torch.ops.hermnet.product_sum.default, (values, weights, *ends, N_ROWS, True)
    )
    rows = torch.randn(N_ROWS, 3, dtype=torch.float64, requires_grad=True)
    torch.library.opcheck(torch.ops.hermnet.edge_product.default, (rows, values, *ends, True))


def test_where_there_is_no_kernel(monkeypatch: pytest.MonkeyPatch):
    (values, weights), _ = example(3)
    assert takes(values, weights)
    assert not takes(values, weights.float())
    with plain_operators():
        assert not takes(values, weights)
    monkeypatch.setattr(convolution, "library", lambda _: None)
    assert not takes(values, weights)
