"""Kernels that nobody has tried: what is compared at their first use, and what follows from it."""

from __future__ import annotations

import logging
import re
import sys
import warnings
from types import ModuleType

import pytest
import torch
from operators import play_a_gpu
from torch import Tensor

from hermnet.kernels import first_use
from hermnet.kernels.choice import plain_operators
from hermnet.kernels.first_use import FirstUse, is_served, precision


class Calls:
    """A function under trial and its plain form, with the calls of both."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, change=lambda result: result) -> None:
        self.made: list[str] = []
        self.change = change
        module = ModuleType("made_for_this_test")
        module.doubled = self.doubled
        monkeypatch.setitem(sys.modules, module.__name__, module)
        self.checked = FirstUse(module.__name__, "doubled", self.plain, by_last=True)

    def doubled(self, x: Tensor, switch: bool) -> Tensor:
        self.made.append("fast")
        return self.change(2 * x)

    def plain(self, x: Tensor, switch: bool) -> Tensor:
        self.made.append("plain")
        return 2 * x


@pytest.fixture(autouse=True)
def _a_cpu_that_plays_a_gpu(monkeypatch: pytest.MonkeyPatch):
    play_a_gpu(monkeypatch)


def test_what_is_right_is_compared_once_for_each_kind(monkeypatch: pytest.MonkeyPatch):
    calls = Calls(monkeypatch)
    x = torch.randn(4, 3)
    for switch in (True, True, False):
        assert torch.equal(calls.checked(x, switch), 2 * x)
    assert calls.made == ["plain", "fast", "fast", "plain", "fast"]
    calls.checked(torch.randn(9, 3), True)
    assert calls.made[5:] == ["fast"], "more rows are no other kind"
    calls.checked(torch.randn(4, 2), True)
    assert calls.made[6:] == ["plain", "fast"], "more columns are"


def wrong(result: Tensor) -> Tensor:
    return result + 1e-3


def failing(result: Tensor) -> Tensor:
    raise RuntimeError("ptxas does not know this GPU\nand so on")


def infinite(result: Tensor) -> Tensor:
    return result * float("nan")


def misshapen(result: Tensor) -> Tensor:
    return result[:2]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (wrong, "doubled is off by"),
        (infinite, "doubled is off by inf times"),
        (failing, "ptxas does not know this GPU"),
        (misshapen, r"a result of shape \(2, 3\), not \(4, 3\)"),
    ],
)
def test_what_is_wrong_is_said_once_and_not_used(
    change, reason: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    calls = Calls(monkeypatch, change)
    x = torch.randn(4, 3)
    with caplog.at_level(logging.INFO, logger="hermnet.kernels"):
        for _ in range(2):
            assert torch.equal(calls.checked(x, True), 2 * x)
    assert calls.made == ["plain", "fast", "plain"]
    (record,) = caplog.records
    assert re.search(reason, record.message)
    calls.change = lambda result: result
    calls.checked(x.double(), True)
    assert calls.made[3:] == ["plain", "fast"], "other dtypes may go well"


def noisy(result: Tensor) -> Tensor:
    warnings.warn("a default will change", stacklevel=1)
    return result


def test_warnings_of_the_compiler_are_no_failure(monkeypatch: pytest.MonkeyPatch):
    calls = Calls(monkeypatch, noisy)
    calls.checked(torch.randn(4, 3), True)
    assert not first_use._refused


def test_inputs_that_are_no_numbers_decide_nothing(monkeypatch: pytest.MonkeyPatch):
    calls = Calls(monkeypatch)
    calls.checked(torch.full((4, 3), float("nan")), True)
    assert calls.made == ["plain", "fast"]
    calls.checked(torch.randn(4, 3), True)
    assert calls.made[2:] == ["plain", "fast"]


def test_zeros_decide_nothing(monkeypatch: pytest.MonkeyPatch):
    calls = Calls(monkeypatch)
    calls.checked(torch.zeros(4, 3), True)
    assert calls.made == ["plain", "fast"]
    calls.checked(torch.randn(4, 3), True)
    assert calls.made[2:] == ["plain", "fast"]
    assert not first_use._refused


def test_where_zeros_are_due_anything_else_is_wrong(monkeypatch: pytest.MonkeyPatch):
    calls = Calls(monkeypatch, wrong)
    calls.checked(torch.zeros(4, 3), True)
    assert first_use._refused


def test_one_result_of_zeros_is_measured_by_the_others():
    expected = [torch.ones(3), torch.zeros(2)]
    near, far = ([torch.ones(3), torch.full((2,), size)] for size in (1e-7, 1e-2))
    assert first_use._difference(near, expected) < 1
    assert first_use._difference(far, expected) > 1
    assert first_use._difference([torch.ones(3), torch.zeros(2)], expected) == 0


def test_nothing_is_compared_while_a_graph_is_captured(monkeypatch: pytest.MonkeyPatch):
    calls = Calls(monkeypatch)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    calls.checked(torch.randn(4, 3), True)
    assert calls.made == ["plain"]


def test_what_is_too_large_to_compare_is_computed_all_the_same(monkeypatch: pytest.MonkeyPatch):
    calls = Calls(monkeypatch)

    tried = []

    def too_large(x: Tensor, switch: bool) -> Tensor:
        tried.append(len(x))
        raise torch.OutOfMemoryError("too large")

    monkeypatch.setattr(calls.checked, "_plain", too_large)
    for n in (4, 4, 5, 3):
        x = torch.randn(n, 3)
        assert torch.equal(calls.checked(x, True), 2 * x)
    assert tried == [4, 3], "what is as long as what did not fit is not tried again"


def test_where_there_is_no_gpu_it_is_not_served():
    x = torch.randn(2, 3)
    assert not is_served(x)
    with plain_operators():
        assert not is_served(x)


def test_products_are_as_exact_as_those_of_torch(monkeypatch: pytest.MonkeyPatch):
    before = torch.backends.cuda.matmul.allow_tf32
    try:
        for allowed, has_units, expected in (
            (False, False, "ieee"), (False, True, "tf32x3"), (True, True, "tf32"),
        ):  # fmt: skip
            torch.backends.cuda.matmul.allow_tf32 = allowed
            monkeypatch.setattr(first_use, "_has_tf32", lambda found=has_units: found)
            assert precision(torch.float32) == expected
            assert precision(torch.float64) == "ieee"
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
