"""Operators that compiled code calls without Python: the same numbers, and what stands in."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from operators import threads
from torch import Tensor
from torch.fx import Graph

from hermnet.kernels import direct
from hermnet.kernels.direct import Direct, direct_operators
from hermnet.kernels.library import extension

pytestmark = pytest.mark.skipif(not direct_operators(), reason="no compiler or headers of torch")
C, N_ROWS, N_ATOMS, N_EDGES = 8, 7, 5, 150


def rand(*shape: int, dtype: torch.dtype) -> Tensor:
    """Every other column of a wider tensor, so that it has to be copied."""
    return torch.randn(*shape[:-1], 2 * shape[-1], dtype=dtype)[..., ::2]


def of_message(dtype: torch.dtype) -> dict[str, tuple[Any, ...]]:
    rows = torch.sort(torch.randint(0, N_ROWS, (N_EDGES,)))[0]
    ends = torch.searchsorted(rows, torch.tensor([3, 3, N_ROWS])).to(torch.int32)
    edges = ends, rows, *(torch.randint(0, N_ATOMS, (N_EDGES,)) for _ in range(2))
    back = torch.randint(0, N_ROWS + 1, (N_EDGES,))  # some go nowhere
    senders = (torch.randint(0, N_ATOMS, (N_EDGES, 2)) for _ in range(2))
    both = ends, torch.stack((rows, back), dim=1), *senders
    v = torch.randn(N_ATOMS, 5, C, dtype=dtype)[:, 1:4]  # rows lie apart
    phi, basis, dirs, weight, grad = (
        rand(*shape, dtype=dtype)
        for shape in ((N_ATOMS, 3 * C), (N_EDGES, 6), (N_EDGES, 3), (3, 5, 3 * C), (N_ROWS, 4, C))
    )
    inputs = phi, v, basis, dirs, weight
    no_v = phi, v[:0], basis, dirs, weight
    no_tangents = phi, None, basis, dirs, weight
    return {
        "message": (*inputs, *edges, N_ROWS),
        "message, both ways": (*inputs, *both, N_ROWS),
        "message, v are zero": (*no_v, *both, N_ROWS),
        "message_first": (grad, *inputs, *edges, 0b11111),
        "message_first, both ways": (grad, *inputs, *both, 0b11111),
        "message_first, v are zero": (grad, *no_v, *both, 0b11101),
        "message_first, some": (grad, *inputs, *edges, 0b01001),
        "message_second": (*inputs, grad, *inputs, *edges, 0b111111),
        "message_second, both ways": (*inputs, grad, *inputs, *both, 0b111111),
        "message_second, v are zero": (*no_tangents, grad, *no_v, *both, 0b111011),
        "message_second, some": (phi, None, None, dirs, None, grad, *inputs, *edges, 0b100101),
    }


def of_perceptron(dtype: torch.dtype) -> dict[str, tuple[Any, ...]]:
    atoms = torch.randint(0, N_ATOMS, (40,))
    ends = torch.tensor([13, 13, 40], dtype=torch.int32)
    x = torch.randn(N_ATOMS, 2 * C, dtype=dtype)[:, :C]
    w1, w2 = rand(3, C + 1, C, dtype=dtype), rand(3, C + 1, 2 * C, dtype=dtype)
    hidden, inner = (torch.randn(40, C, dtype=dtype) for _ in range(2))
    grad = rand(40, 2 * C, dtype=dtype)
    first = grad, x, w1, w2, hidden, atoms, ends
    second = grad, x, w1, w2, hidden, inner, atoms, ends
    return {
        "perceptron": (x, w1, w2, atoms, ends),
        "perceptron, as is": (x, w1, w2, None, torch.tensor([2, 2, 5], dtype=torch.int32)),
        "perceptron_first": (*first, 0b111),
        "perceptron_first, some": (*first, 0b010),
        "perceptron_second": (x, w1, w2, *second, 0b1111),
        "perceptron_second, some": (None, w1, None, *second, 0b0011),
    }


def of_affine(dtype: torch.dtype) -> dict[str, tuple[Any, ...]]:
    offsets = torch.tensor([13, 13, 40], dtype=torch.int32)
    rows, others = rand(40, C + 2, dtype=dtype), rand(40, 2 * C, dtype=dtype)
    weights = rand(3, C + 1, 2 * C, dtype=dtype)
    return {
        "affine": (rows, weights, offsets, 1),
        "affine, no bias": (rows, weights, offsets, 0),
        "affine_back": (others, weights, offsets, 2, C + 2),
        "affine_outer": (rows, others, offsets, 1, C),
    }


def of_convolution(dtype: torch.dtype) -> dict[str, tuple[Any, ...]]:
    rows = torch.sort(torch.randint(0, N_ROWS, (N_EDGES,)))[0]
    senders = torch.randint(0, N_ATOMS, (N_EDGES,))
    both = torch.randint(0, N_ROWS + 1, (N_EDGES, 2)), torch.randint(0, N_ATOMS, (N_EDGES, 2))
    values, weights = rand(N_ATOMS, C, dtype=dtype), rand(N_EDGES, C, dtype=dtype)
    sums = rand(N_ROWS, C, dtype=dtype)
    return {
        "product_sum": (values, weights, rows, senders, N_ROWS, True),
        "product_sum, both ways": (values, weights, *both, N_ROWS, False),
        "edge_product": (sums, values, rows, senders, True),
        "edge_product, both ways": (sums, values, *both, False),
    }


def of_coupling(dtype: torch.dtype) -> dict[str, tuple[Any, ...]]:
    table = torch.randn(28, dtype=dtype)  # of lmax 1
    one = torch.sort(torch.randint(N_ROWS, (N_EDGES,))).values, torch.randint(N_ATOMS, (N_EDGES,))
    rows = torch.randint(0, N_ROWS, (N_EDGES, 2))
    rows[::3, 1] = N_ROWS
    both = rows, torch.randint(0, N_ATOMS, (N_EDGES, 2))
    shapes = (N_ATOMS, 4, C), (N_EDGES, 4), (N_EDGES, 4, C)
    inputs = [rand(*shape, dtype=dtype) for shape in shapes]
    grad = rand(N_ROWS, 4, C, dtype=dtype)
    scalars = [rand(N_ATOMS, 1, C, dtype=dtype), inputs[1], rand(N_EDGES, 2, C, dtype=dtype)]
    return {
        "coupled": (*inputs, table, *one, N_ROWS),
        "coupled, scalars": (*scalars, table, *both, N_ROWS),
        "coupled_first, scalars": (grad, *scalars, table, *both, 0b111),
        "coupled_second, scalars": (*scalars, grad, *scalars, table, *both, 0b1111),
        "coupled, both ways": (*inputs, table, *both, N_ROWS),
        "coupled_first": (grad, *inputs, table, *both, 0b111),
        "coupled_first, some": (grad, *inputs, table, *one, 0b001),
        "coupled_second": (*inputs, grad, *inputs, table, *both, 0b1111),
        "coupled_second, some": (None, inputs[1], None, grad, *inputs, table, *one, 0b1010),
    }


MAKERS = (of_message, of_perceptron, of_affine, of_convolution, of_coupling)


def tensors_of(result: Any) -> list[Tensor]:
    return [result] if isinstance(result, Tensor) else list(result)


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float", "double"])
@pytest.mark.parametrize("make", MAKERS)
def test_numbers_are_those_of_the_operator(make: Any, dtype: torch.dtype, n_threads: int):
    ours = torch.ops.hermnet
    for case, arguments in make(dtype).items():
        name = case.partition(",")[0]
        with threads(n_threads):
            expected = tensors_of(getattr(ours, name)(*arguments))
            found = tensors_of(getattr(ours, f"direct_{name}")(*arguments))
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert one.shape == other.shape, case
            assert one.dtype == other.dtype
            assert torch.equal(one, other), case


def test_every_operator_has_its_case():
    cases = [case for make in MAKERS for case in make(torch.float32)]
    assert {c.partition(",")[0] for c in cases} == {op._opname for op in direct_operators()}


def test_the_compiler_s_graph_calls_them():
    arguments = of_convolution(torch.float32)["edge_product"]
    graph = Graph()
    places = [graph.placeholder(f"x{k}") for k in range(len(arguments))]
    call = graph.call_function(torch.ops.hermnet.edge_product.default, tuple(places))
    other = graph.call_function(torch.ops.aten.neg.default, (call,))
    graph.output(other)
    Direct()(graph)
    assert call.target is torch.ops.hermnet.direct_edge_product.default
    assert other.target is torch.ops.aten.neg.default


@pytest.mark.parametrize("missing", ["library", "extension"])
def test_without_a_compiler_or_headers_there_are_none(
    missing: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(direct, missing, lambda _: None)
    monkeypatch.setattr(direct, "direct_operators", direct_operators.__wrapped__)
    assert direct.direct_operators() == {}
    with pytest.raises(RuntimeError, match="there are no direct operators"):
        Direct()


def test_code_that_does_not_fit_these_headers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "direct.cpp").write_text("#include <torch/no_such.h>\n")
    monkeypatch.setenv("HERMNET_CACHE", str(tmp_path))
    monkeypatch.setattr("hermnet.kernels.library._FOLDER", tmp_path)
    with caplog.at_level(logging.INFO, logger="hermnet.kernels"):
        assert extension.__wrapped__("direct") is None
    assert "no_such.h" in caplog.text
