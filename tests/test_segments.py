"""Segment sums: native, and torch_scatter where it is installed."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from hermnet import segments
from hermnet.errors import InputError
from hermnet.segments import segment_backend, segment_sum

INDEX = torch.tensor([3, 0, 3, 1, 0, 3])  # nothing belongs to segment 2


def values() -> torch.Tensor:
    return torch.randn(len(INDEX), 2, 3, dtype=torch.float64, requires_grad=True)


def loop(rows: torch.Tensor, n_segments: int) -> torch.Tensor:
    sums = [torch.zeros_like(rows[0]) for _ in range(n_segments)]
    for row, segment in zip(rows, INDEX.tolist(), strict=True):
        sums[segment] = sums[segment] + row
    return torch.stack(sums)


def test_sums_equal_a_loop():
    rows = values()
    torch.testing.assert_close(segment_sum(rows, INDEX, 5), loop(rows, 5), rtol=0, atol=1e-14)


def test_no_rows():
    sums = segment_sum(torch.empty(0, 3), torch.empty(0, dtype=torch.int64), 4)
    assert torch.equal(sums, torch.zeros(4, 3))


def test_two_orders_of_derivatives():
    def function(rows: torch.Tensor) -> torch.Tensor:
        return segment_sum(rows.sin(), INDEX, 5)

    assert gradcheck(function, (values(),))
    assert gradgradcheck(function, (values(),))


def test_torch_scatter_gives_the_same_to_second_order():
    pytest.importorskip("torch_scatter")
    rows = values()

    def derivatives() -> list[torch.Tensor]:
        energy = segment_sum(rows.square(), INDEX, 5).sin()
        (first,) = torch.autograd.grad(energy.sum(), rows, create_graph=True)
        return [energy, first, *torch.autograd.grad(first.square().sum(), rows)]

    native = derivatives()
    with segment_backend("torch_scatter"):
        scattered = derivatives()
    for one, other in zip(scattered, native, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_the_backend_is_chosen_for_the_block_only(monkeypatch: pytest.MonkeyPatch):
    calls = []

    def counted(rows: torch.Tensor, index: torch.Tensor, n_segments: int) -> torch.Tensor:
        calls.append(n_segments)
        return rows.new_zeros(n_segments, *rows.shape[1:])

    monkeypatch.setitem(segments._BACKENDS, "counted", counted)
    with segment_backend("counted"):
        segment_sum(values(), INDEX, 5)
        with segment_backend("native"):
            segment_sum(values(), INDEX, 5)
    segment_sum(values(), INDEX, 5)
    assert calls == [5]


def test_an_unknown_backend_is_refused():
    with (
        pytest.raises(
            InputError, match=r"unknown segment backend 'scatter'; did you mean 'torch_sc"
        ),
        segment_backend("scatter"),
    ):
        pass


def test_torch_scatter_must_be_installed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(segments, "find_spec", lambda name: None)
    with (
        pytest.raises(
            InputError, match="needs the package torch_scatter: pip install --no-build-iso"
        ),
        segment_backend("torch_scatter"),
    ):
        pass
