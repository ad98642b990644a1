"""Coupled products of features and harmonics: values and both derivatives, one way and two."""

from __future__ import annotations

import pytest
import torch
from operators import (
    assert_closed,
    assert_equal_derivatives,
    assert_float32_is_close,
    threads,
)
from torch import Tensor

from hermnet.kernels import coupling
from hermnet.kernels.choice import plain_operators
from hermnet.kernels.coupling import Edges, coupled_sum, takes
from hermnet.kernels.library import library
from hermnet.subnets.nequip import TensorProduct

pytestmark = pytest.mark.skipif(library("coupling") is None, reason="there is no C++ compiler")
N_ROWS, N_SENDERS = 7, 9
LMAX = (1, 2)


def example(
    lmax: int, n_edges: int, n_channels: int = 2, n_ways: int = 1, only_scalars: bool = False
) -> tuple[TensorProduct, list[Tensor], Edges]:
    """A product, its factors, and edges of which some go nowhere on their second way."""
    product = TensorProduct(lmax).double()
    n, n_paths = (lmax + 1) ** 2, lmax + 1 if only_scalars else len(product.paths)
    n_features = 1 if only_scalars else n
    shapes = (N_SENDERS, n_features, n_channels), (n_edges, n), (n_edges, n_paths, n_channels)
    factors = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes]
    ways = (n_edges, n_ways)[:n_ways]
    rows, senders = torch.randint(N_ROWS, ways), torch.randint(N_SENDERS, ways)
    if n_ways == 1:
        rows = torch.sort(rows).values
    else:
        rows[::3, 1] = N_ROWS
    return product, factors, Edges(product.table, rows, senders)


def one_by_one(
    product: TensorProduct, edges: Edges, x: Tensor, harmonics: Tensor, weights: Tensor
) -> Tensor:
    """The sum with operators of torch, a way after the other."""
    out = x.new_zeros(N_ROWS + 1, harmonics.shape[1], x.shape[2])
    n_ways = 1 if edges.rows.dim() == 1 else 2
    ends = [t.view(len(harmonics), n_ways) for t in (edges.rows, edges.senders)]
    for way, sign in enumerate([1.0, product.parity][:n_ways]):
        rows, senders = (t[:, way] for t in ends)
        out = out.index_add(0, rows, product(x[senders], sign * harmonics, weights))
    return out[:N_ROWS]


@pytest.mark.parametrize("lmax", LMAX)
@pytest.mark.parametrize("n_ways", [1, 2])
@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("n_channels", [2, 10, 16])  # the shortest vectors, several, the longest
@pytest.mark.parametrize("only_scalars", [False, True])
def test_equals_the_product_of_gathered_features(
    lmax: int, n_ways: int, n_threads: int, n_channels: int, only_scalars: bool
):
    product, factors, edges = example(lmax, 200, n_channels, n_ways, only_scalars)
    with threads(n_threads):
        assert_equal_derivatives(
            lambda *a: coupled_sum(*a, edges, N_ROWS),
            lambda *a: one_by_one(product, edges, *a),
            factors,
        )


@pytest.mark.parametrize("n_ways", [1, 2])
@pytest.mark.parametrize("only_scalars", [False, True])
def test_closes_under_differentiation(n_ways: int, only_scalars: bool):
    _, factors, edges = example(1, 8, n_ways=n_ways, only_scalars=only_scalars)
    assert_closed(lambda *a: coupled_sum(*a, edges, N_ROWS), factors)


@pytest.mark.parametrize("lmax", LMAX)
def test_float32_is_close(lmax: int):
    _, factors, edges = example(lmax, 300, 32, 2)
    single = [t.detach().float().requires_grad_() for t in factors]

    def summed(*given: Tensor) -> Tensor:
        return coupled_sum(*given, edges._replace(table=edges.table.to(given[0])), N_ROWS)

    assert_float32_is_close(summed, single)


def test_no_edges_sum_to_zero():
    _, factors, edges = example(1, 0)
    out = coupled_sum(*factors, edges, N_ROWS)
    assert out.shape == (N_ROWS, 4, 2)
    assert not out.any()
    assert not any(g.any() for g in torch.autograd.grad(out.sum(), factors))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize("n_ways", [1, 2])
def test_operators_keep_the_rules_of_torch(n_ways: int):
    _, factors, edges = example(1, 9, n_ways=n_ways)
    operators = torch.ops.hermnet
    torch.library.opcheck(operators.coupled.default, (*factors, *edges, N_ROWS))
    grad = torch.randn(N_ROWS, 4, 2, dtype=torch.float64, requires_grad=True)
    torch.library.opcheck(operators.coupled_first.default, (grad, *factors, *edges, 0b111))


def test_tensors_of_other_paths_are_refused():
    _, factors, edges = example(1, 5)
    wrong = edges._replace(table=edges.table[:-1])
    with pytest.raises(ValueError, match="table: 27 entries, not 28"):
        coupled_sum(*factors, wrong, N_ROWS)


@pytest.mark.parametrize("lmax", [0, 3])
def test_other_degrees_have_no_kernel(lmax: int):
    _, factors, _ = example(lmax, 5)
    assert not takes(*factors)


def test_where_there_is_no_kernel(monkeypatch: pytest.MonkeyPatch):
    _, factors, _ = example(2, 5)
    assert takes(*factors)
    assert not takes(factors[0], factors[1].float(), factors[2])
    assert not takes(factors[0][:, :, :1], *factors[1:])  # eight bytes
    assert not takes(factors[0][:, :4], *factors[1:])  # neither scalars alone nor all degrees
    with plain_operators():
        assert not takes(*factors)
    monkeypatch.setattr(coupling, "library", lambda _: None)
    assert not takes(*factors)
