"""The kernel of filtered messages: values and two derivatives against a sum edge by edge."""

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

from hermnet.kernels import message
from hermnet.kernels.choice import plain_operators
from hermnet.kernels.library import library
from hermnet.kernels.message import Edges, filtered_message, takes

pytestmark = pytest.mark.skipif(library("message") is None, reason="there is no C++ compiler")
N_ROWS, N_SOURCES, N_ATOMS = 7, 9, 5


def edges(n_edges: int) -> Edges:
    """Three slots, the second empty; some rows without edges."""
    rows = torch.sort(torch.randint(0, N_ROWS, (n_edges,)))[0]
    ends = torch.searchsorted(rows, torch.tensor([3, 3, N_ROWS])).to(torch.int32)
    senders = [torch.randint(0, n, (n_edges,)) for n in (N_SOURCES, N_ATOMS)]
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
    out = [torch.zeros(4, v.shape[2], dtype=v.dtype) for _ in range(N_ROWS)]
    slots = torch.searchsorted(e.ends.long(), torch.arange(len(e.rows)), right=True)
    for k, (slot, row, j, atom) in enumerate(
        zip(slots.tolist(), e.rows, e.neighbors, e.atoms, strict=True)
    ):
        f = basis[k] @ weight[min(slot, len(weight) - 1)]
        scalar, radial, vector = (phi[j] * f).chunk(3)
        dv = torch.outer(dirs[k], radial) + vector * v[atom]
        out[row] = out[row] + torch.cat((scalar.unsqueeze(0), dv))
    return torch.stack(out)


def fused(phi: Tensor, x: Tensor, *rest: Tensor, e: Edges) -> Tensor:
    return filtered_message(phi, x[:, 1:4], *rest, e, N_ROWS)


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize(
    ("n_channels", "n_matrices"), [(2, 3), (8, 3), (8, 1)], ids=["short", "long", "shared"]
)
def test_equals_the_sum_edge_by_edge(n_channels: int, n_matrices: int, n_threads: int):
    """Blocks of 64 edges: 150 are several, one of them cut by the end of a slot."""
    e, x = edges(150), inputs(150, n_channels, n_matrices=n_matrices)
    with threads(n_threads):
        assert_equal_derivatives(
            lambda *a: fused(*a, e=e), lambda p, v, *rest: plain(p, v[:, 1:4], *rest, e), x
        )


def test_closes_under_two_derivatives():
    e, x = edges(12), inputs(12, 2)
    assert_closed(lambda *a: fused(*a, e=e), x)


def test_float32_is_close_to_float64():
    e, x = edges(150), inputs(150, 16, torch.float32)
    assert_float32_is_close(lambda *a: fused(*a, e=e), x)


def test_without_edges_it_is_zero():
    x = inputs(0, 4)
    out = fused(*x, e=edges(0))
    assert out.shape == (N_ROWS, 4, 4)
    assert (out == 0).all()
    gradients = torch.autograd.grad(out.sum(), x)
    assert all((g == 0).all() for g in gradients)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_operators_keep_the_rules_of_torch():
    e, x = edges(9), inputs(9, 4)
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
