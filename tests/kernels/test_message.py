"""Filtered messages, one way and two: values and both derivatives against a sum edge by edge."""

from __future__ import annotations

import pytest
import torch
from operators import (
    assert_closed,
    assert_equal_derivatives,
    assert_float32_is_close,
    derivatives,
    threads,
)
from torch import Tensor

from hermnet.kernels import message
from hermnet.kernels.choice import plain_operators
from hermnet.kernels.library import library
from hermnet.kernels.message import Edges, filtered_message, takes

pytestmark = pytest.mark.skipif(library("message") is None, reason="there is no C++ compiler")
N_ROWS, N_SOURCES, N_ATOMS = 7, 9, 5


def edges(n_edges: int, n_ways: int = 1) -> Edges:
    """Three slots, the second empty; some rows without edges; some edges do not go back."""
    rows = torch.sort(torch.randint(0, N_ROWS, (n_edges,)))[0]
    ends = torch.searchsorted(rows, torch.tensor([3, 3, N_ROWS])).to(torch.int32)
    if n_ways == 2:
        back = torch.randint(0, N_ROWS, (n_edges,))
        back[::3] = N_ROWS
        rows = torch.stack((rows, back), dim=1)
    senders = [torch.randint(0, n, rows.shape) for n in (N_SOURCES, N_ATOMS)]
    return Edges(ends, rows, *senders)


def inputs(
    n_edges: int, n_channels: int, dtype: torch.dtype = torch.float64, n_matrices: int = 3
) -> list[Tensor]:
    """phi, features with a row before and one after the vectors, basis, directions, weights."""
    shapes = [
        (N_SOURCES, 3 * n_channels),
        (N_ATOMS, 5, n_channels),
        (n_edges, 5),
        (n_edges, 3),
        (n_matrices, 5, 3 * n_channels),
    ]
    return [torch.randn(*shape, dtype=dtype, requires_grad=True) for shape in shapes]


def plain(phi: Tensor, v: Tensor, basis: Tensor, dirs: Tensor, weight: Tensor, e: Edges) -> Tensor:
    """The sum edge by edge, as it stands in the docstring."""
    out = [torch.zeros(4, v.shape[2], dtype=v.dtype) for _ in range(N_ROWS + 1)]
    slots = torch.searchsorted(e.ends.long(), torch.arange(len(e.rows)), right=True)
    for k, slot in enumerate(slots.tolist()):
        f = basis[k] @ weight[min(slot, len(weight) - 1)]
        ways = zip(*(t[k].view(-1).tolist() for t in e[1:]), strict=True)
        for (row, j, atom), sign in zip(ways, (1, -1), strict=False):
            scalar, radial, vector = (phi[j] * f).chunk(3)
            dv = torch.outer(sign * dirs[k], radial) + vector * v[atom]
            out[row] = out[row] + torch.cat((scalar.unsqueeze(0), dv))
    return torch.stack(out[:N_ROWS])


def fused(phi: Tensor, x: Tensor, *rest: Tensor, e: Edges) -> Tensor:
    return filtered_message(phi, x[:, 1:4], *rest, e, N_ROWS)


@pytest.mark.parametrize("n_ways", [1, 2])
@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize(
    ("n_channels", "n_matrices"), [(2, 3), (8, 3), (8, 1)], ids=["short", "long", "shared"]
)
def test_equals_the_sum_edge_by_edge(n_channels: int, n_matrices: int, n_threads: int, n_ways: int):
    """Blocks of 64 edges: 150 are several, one of them cut by the end of a slot."""
    e, x = edges(150, n_ways), inputs(150, n_channels, n_matrices=n_matrices)
    with threads(n_threads):
        assert_equal_derivatives(
            lambda *a: fused(*a, e=e), lambda p, v, *rest: plain(p, v[:, 1:4], *rest, e), x
        )


@pytest.mark.parametrize("n_ways", [1, 2])
@pytest.mark.parametrize("n_matrices", [3, 1])
def test_without_atoms_all_v_are_zero(n_matrices: int, n_ways: int):
    e, (phi, x, *rest) = edges(150, n_ways), inputs(150, 8, n_matrices=n_matrices)
    nothing, zeros = x.detach()[:0, 1:4], torch.zeros_like(x.detach()[:, 1:4])
    assert_equal_derivatives(
        lambda phi, *rest: filtered_message(phi, nothing, *rest, e, N_ROWS),
        lambda phi, *rest: plain(phi, zeros, *rest, e),
        [phi, *rest],
    )


@pytest.mark.parametrize("n_ways", [1, 2])
def test_closes_under_two_derivatives(n_ways: int):
    e, x = edges(12, n_ways), inputs(12, 2)
    assert_closed(lambda *a: fused(*a, e=e), x)


@pytest.mark.parametrize("n_ways", [1, 2])
def test_float32_is_close_to_float64(n_ways: int):
    e, x = edges(150, n_ways), inputs(150, 16, torch.float32)
    assert_float32_is_close(lambda *a: fused(*a, e=e), x)


@pytest.mark.parametrize("n_ways", [1, 2])
def test_without_edges_it_is_zero(n_ways: int):
    x = inputs(0, 4)
    out = fused(*x, e=edges(0, n_ways))
    assert out.shape == (N_ROWS, 4, 4)
    assert (out == 0).all()
    gradients = torch.autograd.grad(out.sum(), x)
    assert all((g == 0).all() for g in gradients)


def test_threads_add_up_in_one_order():
    """With as many threads the same bits in every run, though two share rows on the way back."""
    e, x = edges(150, 2), inputs(150, 8, torch.float32)
    with threads(2):
        one, *others = (derivatives(lambda *a: fused(*a, e=e), x) for _ in range(5))
    for other in others:
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize("n_ways", [1, 2])
def test_operators_keep_the_rules_of_torch(n_ways: int):
    e, x = edges(9, n_ways), inputs(9, 4)
    arguments = (x[0], x[1][:, 1:4], *x[2:], *e)
    torch.library.opcheck(torch.ops.hermnet.message.default, (*arguments, N_ROWS))
    grad = torch.randn(N_ROWS, 4, 4, dtype=torch.float64, requires_grad=True)
    torch.library.opcheck(torch.ops.hermnet.message_first.default, (grad, *arguments, 0b11111))


def test_where_there_is_no_kernel(monkeypatch: pytest.MonkeyPatch):
    phi, x, basis, *_ = inputs(3, 4)
    assert takes(phi, x[:, 1:4], basis)
    assert not takes(phi.float(), x[:, 1:4], basis), "mixed dtypes"
    assert not takes(*(t.bfloat16() for t in (phi, x[:, 1:4], basis)))
    odd = inputs(3, 3)
    assert not takes(odd[0], odd[1][:, 1:4], odd[2]), "channels that fill no vector"
    with plain_operators():
        assert not takes(phi, x[:, 1:4], basis)
    monkeypatch.setattr(message, "library", lambda _: None)
    assert not takes(phi, x[:, 1:4], basis)
