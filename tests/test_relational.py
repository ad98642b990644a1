"""`RelationalLinear` against a loop over rows."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hermnet.errors import InputError
from hermnet.expansion import Segments
from hermnet.relational import RelationalLinear, Sharing

SHARINGS = ("independent", "basis:3", "shared")
COUNTS = (3, 0, 5, 1)  # rows of each relation; the second is empty
DTYPES = (torch.float64, torch.float32)


def make(sharing: str, dtype: torch.dtype, *, bias: bool = True, n_in: int = 6, n_out: int = 5):
    layer = RelationalLinear(n_in, n_out, len(COUNTS), Sharing.parse(sharing), bias)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    return layer.to(dtype)


def segments() -> Segments:
    return Segments(torch.tensor(COUNTS).cumsum(0).to(torch.int32))


def loop(layer: RelationalLinear, x: torch.Tensor) -> torch.Tensor:
    """The same in float64, one row after the other, from the parameters alone."""
    relation = [r for r, n in enumerate(COUNTS) for _ in range(n)]
    tensors = {name: value.double() for name, value in layer.named_parameters()}
    rows = []
    for row, r in zip(x.double(), relation, strict=True):
        if "stack.mixing" in tensors:
            bases, mixing = tensors["stack.bases"], tensors["stack.mixing"][r]
            matrix = sum(mixing[b] * bases[b] for b in range(len(bases)))
        else:
            weight = tensors["stack.weight"]
            matrix = weight[r] if len(weight) > 1 else weight[0]
        y = row[..., : layer.n_in] @ matrix[: layer.n_in]
        rows.append(y + matrix[layer.n_in] if layer.has_bias else y)
    return torch.stack(rows)


@pytest.mark.parametrize("sharing", SHARINGS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "plain"])
@pytest.mark.parametrize("sizes", [(6, 5), (8, 12), (7, 4)], ids=str)
def test_equals_a_loop_over_rows(
    sharing: str, dtype: torch.dtype, bias: bool, sizes: tuple[int, int]
):
    layer = make(sharing, dtype, bias=bias, n_in=sizes[0], n_out=sizes[1])
    x = torch.randn(sum(COUNTS), sizes[0], dtype=dtype, requires_grad=True)
    y = layer(x, segments())
    expected = loop(layer, x)
    tolerance = {"rtol": 0.0, "atol": 1e-12 if dtype == torch.float64 else 1e-5}
    torch.testing.assert_close(y.double(), expected, **tolerance)
    over = [x, *layer.parameters()]
    target = torch.randn_like(expected)
    ours = torch.autograd.grad((y.double() * target).sum(), over)
    theirs = torch.autograd.grad((expected * target).sum(), over)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=0.0, atol=5 * tolerance["atol"])


@pytest.mark.parametrize("sharing", SHARINGS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_rows_of_several_dimensions(sharing: str, dtype: torch.dtype):
    layer = make(sharing, dtype)
    x = torch.randn(sum(COUNTS), 3, 2, 6, dtype=dtype)
    y = layer(x, segments())
    assert y.shape == (sum(COUNTS), 3, 2, 5)
    torch.testing.assert_close(y.double(), loop(layer, x), rtol=0.0, atol=1e-5)


@pytest.mark.parametrize("sharing", SHARINGS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "plain"])
@pytest.mark.parametrize("extra", [1, 2, 5])
def test_columns_of_padding_are_ignored(sharing: str, dtype: torch.dtype, bias: bool, extra: int):
    layer = make(sharing, dtype, bias=bias)
    x = torch.randn(sum(COUNTS), 6, dtype=dtype)
    padded = torch.nn.functional.pad(x, (0, extra))
    torch.testing.assert_close(layer(padded, segments()), layer(x, segments()))


@pytest.mark.parametrize("sharing", SHARINGS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_empty_relations_get_a_gradient_of_zero(sharing: str, dtype: torch.dtype):
    layer = make(sharing, dtype)
    layer(torch.randn(sum(COUNTS), 6, dtype=dtype), segments()).sum().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None, name
        if len(parameter) == len(COUNTS):
            assert (parameter.grad[1] == 0).all(), name
            assert (parameter.grad[[0, 2, 3]] != 0).any(dim=-1).all(), name


@pytest.mark.parametrize("sharing", SHARINGS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_no_rows_at_all(sharing: str, dtype: torch.dtype):
    layer = make(sharing, dtype)
    x = torch.empty(0, 6, dtype=dtype, requires_grad=True)
    y = layer(x, Segments(torch.zeros(len(COUNTS), dtype=torch.int32)))
    assert y.shape == (0, 5)
    gradients = torch.autograd.grad(y.sum(), [x, *layer.parameters()])
    assert all((gradient == 0).all() for gradient in gradients)


@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize("sharing", SHARINGS)
def test_relations_without_rows_can_be_left_out(sharing: str, rank: int):
    kind = replace(Sharing.parse(sharing), rank=rank)
    layer = RelationalLinear(6, 8, len(COUNTS), kind).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    x, every = torch.randn(sum(COUNTS), 6, dtype=torch.float64), segments()
    used = torch.tensor([0, 2, 3])
    found = layer(x, Segments(every.ends[used], used))
    torch.testing.assert_close(found, layer(x, every), rtol=1e-12, atol=1e-12)


def test_numbers_of_parameters():
    counts = {s: sum(p.numel() for p in make(s, torch.float64).parameters()) for s in SHARINGS}
    matrix = 7 * 5  # with the row of the bias
    assert counts == {"independent": 4 * matrix, "basis:3": 3 * matrix + 4 * 3, "shared": matrix}


def test_biases_start_at_zero_and_weights_within_the_bound():
    for sharing in SHARINGS:
        layer = RelationalLinear(300, 100, 4, Sharing.parse(sharing))
        weights = layer.stack()
        assert (weights[:, -1] == 0).all()
        spread = float(weights[:, :-1].detach().std())
        assert spread == pytest.approx((2 / 400) ** 0.5, rel=0.2)  # Glorot: 2 / (n_in + n_out)


@pytest.mark.parametrize("text", ["basis", "basis:0", "basis:-1", "basis:x", "Shared", ""])
def test_what_is_no_sharing_is_refused(text: str):
    with pytest.raises(
        InputError, match=r"model.sharing: '.*' is not independent, shared or basis:B"
    ):
        Sharing.parse(text)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "reduce",
    [lambda y: y.sum(), lambda y: y.sum(0).square().sum(), lambda y: y.sum(1).square().sum()],
    ids=["all", "rows", "columns"],
)
def test_a_sum_of_the_output_can_be_differentiated_twice(reduce, dtype: torch.dtype):
    """Its gradient is an expanded tensor, which grouped products do not take as it is."""
    layer = make("independent", dtype, n_in=7, n_out=4)
    x = torch.randn(sum(COUNTS), 7, dtype=dtype, requires_grad=True)
    weight = layer.stack.weight
    parts = zip(x.split(COUNTS), weight, strict=True)
    loop = torch.cat([rows @ w[:7] + w[7] for rows, w in parts])
    outputs = (layer(x, segments()), loop)
    first = [torch.autograd.grad(reduce(y), x, create_graph=True)[0] for y in outputs]
    torch.testing.assert_close(*first)
    second = [torch.autograd.grad(gradient.square().sum(), weight)[0] for gradient in first]
    torch.testing.assert_close(*second, rtol=1e-4, atol=1e-4)
