"""The kernel of two relation-wise layers: values and two derivatives against a loop over rows."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from operators import (
    assert_closed,
    assert_equal_derivatives,
    assert_float32_is_close,
    derivatives,
    threads,
)
from torch import Tensor

from hermnet.expansion import Segments
from hermnet.kernels import perceptron as module
from hermnet.kernels.choice import plain_operators
from hermnet.kernels.library import library
from hermnet.kernels.perceptron import perceptron, takes
from hermnet.perceptron import relational_perceptron
from hermnet.relational import RelationalLinear, Sharing

pytestmark = pytest.mark.skipif(library("perceptron") is None, reason="there is no C++ compiler")
N_ATOMS = 9


def rows_of(counts: list[int], order: str) -> tuple[Tensor | None, Tensor]:
    """Atoms of each row, and where the segments end: in order, gathered at random, or as is."""
    ends = torch.tensor(counts).cumsum(0).to(torch.int32)
    if order == "as is":
        return None, ends
    if order == "in order":
        return torch.cat([torch.arange(n) for n in counts]), ends
    return torch.randint(0, N_ATOMS, (sum(counts),)), ends


def inputs(
    n_rows: int, sizes: tuple[int, int, int], n_matrices: int, dtype: torch.dtype = torch.float64
) -> list[Tensor]:
    """Features, and weights with biases."""
    n_in, n_hidden, n_out = sizes
    shapes = [(n_rows, n_in), (n_matrices, n_in + 1, n_hidden), (n_matrices, n_hidden + 1, n_out)]
    return [torch.randn(*shape, dtype=dtype, requires_grad=True) for shape in shapes]


def plain(x: Tensor, w1: Tensor, w2: Tensor, atoms: Tensor | None, ends: Tensor) -> Tensor:
    """Row by row, as it stands in the docstring."""
    rows = x if atoms is None else x[atoms]
    relation = torch.searchsorted(ends.long(), torch.arange(len(rows)), right=True)
    out = [rows.new_empty(0, w2.shape[2])]
    for row, r in zip(rows, relation.tolist(), strict=True):
        first, second = w1[min(r, len(w1) - 1)], w2[min(r, len(w2) - 1)]
        hidden = F.silu(row @ first[:-1] + first[-1])
        out.append((hidden @ second[:-1] + second[-1]).unsqueeze(0))
    return torch.cat(out)


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("order", ["as is", "in order", "gathered"])
@pytest.mark.parametrize(
    ("sizes", "counts", "n_matrices"),
    [
        ((4, 2, 6), [3, 0, 5], 3),
        ((8, 16, 24), [70, 1, 0, 130], 4),  # blocks of 64 rows: several, and cut by segments
        ((8, 16, 24), [70, 130], 1),
    ],
    ids=["short", "long", "shared"],
)
def test_equals_row_by_row(sizes, counts: list[int], n_matrices: int, order: str, n_threads: int):
    atoms, ends = rows_of(counts, order)
    n_rows = N_ATOMS if order == "gathered" else sum(counts)
    x = inputs(n_rows, sizes, n_matrices)
    with threads(n_threads):
        assert_equal_derivatives(
            lambda *a: perceptron(*a, atoms, ends), lambda *a: plain(*a, atoms, ends), x
        )


@pytest.mark.parametrize("order", ["as is", "gathered"])
def test_closes_under_two_derivatives(order: str):
    atoms, ends = rows_of([3, 0, 2], order)
    x = inputs(N_ATOMS if order == "gathered" else 5, (2, 4, 2), 3)
    assert_closed(lambda *a: perceptron(*a, atoms, ends), x)


def test_rows_may_lie_apart():
    (x, *weights), (atoms, ends) = inputs(9, (4, 2, 6), 2), rows_of([6, 3], "gathered")
    apart = torch.stack((x, x), dim=1)[:, 0]
    assert not apart.is_contiguous()
    found = perceptron(apart, *weights, atoms, ends)
    torch.testing.assert_close(found, perceptron(x, *weights, atoms, ends))


def test_float32_is_close_to_float64():
    atoms, ends = rows_of([70, 30], "gathered")
    x = inputs(N_ATOMS, (16, 16, 48), 2, torch.float32)
    assert_float32_is_close(lambda *a: perceptron(*a, atoms, ends), x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_silu_far_from_zero(dtype: torch.dtype):
    """Where its exponential would overflow, and on a fine grid between."""
    z = torch.cat((torch.linspace(-30, 30, 4001), torch.tensor([-1e3, -90.0, 90.0, 1e3, 0.0])))
    x = z.to(dtype).unsqueeze(1).expand(-1, 4).contiguous().requires_grad_()
    one = torch.cat((torch.eye(4, dtype=dtype), torch.zeros(1, 4, dtype=dtype))).unsqueeze(0)
    ends = torch.tensor([len(x)], dtype=torch.int32)
    found = derivatives(lambda a: perceptron(a, one, one, None, ends), [x])
    tolerance = 2e-7 if dtype == torch.float32 else 1e-15
    for got, expected in zip(found, derivatives(F.silu, [x]), strict=True):
        error = (got - expected).abs() / (1 + expected.abs())
        assert error.max() < 8 * tolerance


def test_without_rows_it_is_empty():
    x, (atoms, ends) = inputs(N_ATOMS, (4, 2, 6), 2), rows_of([0, 0], "in order")
    out = perceptron(*x, atoms.long(), ends)
    assert out.shape == (0, 6)
    assert all((g == 0).all() for g in torch.autograd.grad(out.sum(), x))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_operators_keep_the_rules_of_torch():
    x, (atoms, ends) = inputs(N_ATOMS, (4, 2, 6), 2), rows_of([6, 3], "gathered")
    torch.library.opcheck(torch.ops.hermnet.perceptron.default, (*x, atoms, ends))
    grad = torch.randn(9, 6, dtype=torch.float64, requires_grad=True)
    hidden = torch.randn(9, 2, dtype=torch.float64)
    first = torch.ops.hermnet.perceptron_first.default
    torch.library.opcheck(first, (grad, *x, hidden, atoms, ends, 0b111))


def test_where_there_is_no_kernel(monkeypatch: pytest.MonkeyPatch):
    x, *weights = inputs(3, (4, 2, 6), 2)
    assert takes(x, *weights)
    assert not takes(x.float(), *weights), "mixed dtypes"
    assert not takes(*(t.bfloat16() for t in (x, *weights)))
    assert not takes(*inputs(3, (4, 3, 6), 2)), "columns that fill no vector"
    assert not takes(x, weights[0][:1], weights[1]), "a matrix for all before one for each"
    with plain_operators():
        assert not takes(x, *weights)
    monkeypatch.setattr(module, "library", lambda _: None)
    assert not takes(x, *weights)


@pytest.mark.parametrize("sharing", ["independent", "basis:2", "shared"])
def test_layers_give_what_they_give_one_by_one(sharing: str):
    sizes = ((4, 8), (8, 12))
    layers = tuple(RelationalLinear(*s, 3, Sharing.parse(sharing)).double() for s in sizes)
    with torch.no_grad():
        for parameter in torch.nn.ModuleList(layers).parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    (x, *_), (atoms, ends) = inputs(N_ATOMS, (4, 8, 12), 3), rows_of([5, 0, 4], "gathered")
    found = relational_perceptron(layers, x, Segments(ends), atoms)
    with plain_operators():
        expected = relational_perceptron(layers, x, Segments(ends), atoms)
    torch.testing.assert_close(found, expected)
    assert not torch.equal(found, torch.zeros_like(found))


def test_mixed_precision_multiplies_with_fewer_digits():
    layers = tuple(RelationalLinear(8, 8, 1, Sharing("independent")) for _ in range(2))
    x, ends = torch.randn(5, 8), torch.tensor([5], dtype=torch.int32)
    with torch.autocast("cpu", torch.bfloat16):
        assert relational_perceptron(layers, x, Segments(ends)).dtype == torch.bfloat16


def test_only_gradients_that_are_asked_for_are_computed(monkeypatch: pytest.MonkeyPatch):
    """Forces need none of the weights'; a loss on them needs all."""
    asked = []
    call = module._call

    def note(which, inputs, rows, given, results):
        asked.append((which, [t is not None and t.numel() > 0 for t in results[3:]]))
        call(which, inputs, rows, given, results)

    monkeypatch.setattr(module, "_call", note)
    (x, *weights), (atoms, ends) = inputs(N_ATOMS, (4, 2, 6), 2), rows_of([6, 3], "gathered")
    energy = perceptron(x.sin(), *weights, atoms, ends).square().sum()
    (force,) = torch.autograd.grad(energy, x, create_graph=True)
    assert asked == [(0, [False] * 3), (1, [True, False, False])]
    del asked[:]
    force.square().sum().backward(inputs=weights)
    assert asked == [(2, [False, True, True]), (1, [False, True, True])]
    assert all(weight.grad is not None for weight in weights)
