"""Which calls are recorded as CUDA graphs, and that replays equal calls where there is a GPU."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from hermnet import cuda_graphs
from hermnet.checks import random_potential
from hermnet.cuda_graphs import Replayed
from hermnet.graph import collate
from hermnet.model_options import ModelOptions
from hermnet.neighbors import graph_from_atoms
from hermnet.testing import ELEMENTS, crystal, molecule

on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")


def doubled(weight: Tensor, x: Tensor) -> dict[str, Tensor]:
    return {"twice": 2 * weight * x}


class Fake:
    """Stands in for a `Record`: says what it was made for, and doubles where it is replayed."""

    made: list[tuple[int, ...]]
    replays = 0
    is_training = False
    is_pending = False

    def __init__(self, function: Any, n_fixed: int, inputs: Any) -> None:
        type(self).made.append(tuple(inputs[n_fixed].shape))
        self.n_rows = len(inputs[n_fixed])
        self.weight = inputs[0]

    def replay(self, given: Any) -> tuple[Tensor, ...]:
        type(self).replays += 1
        return (2 * self.weight * given[0],)

    def structured(self, leaves: Any) -> Any:
        return {"twice": leaves[0]}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[Fake]:
    class Here(Fake):
        made: list[tuple[int, ...]] = []  # noqa: RUF012

    monkeypatch.setattr(cuda_graphs, "Record", Here)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    return Here


def call(function: Replayed, weight: Tensor, rows: int) -> None:
    x = torch.randn(rows)
    assert torch.equal(function(weight, x)["twice"], 2 * weight * x)


def test_a_size_is_recorded_when_it_has_come_several_times(fake: type[Fake]):
    function, weight = Replayed(doubled, 1), torch.tensor(3.0)
    for rows in (5, 6, 5, 6, 5):
        call(function, weight, rows)
    assert fake.made == []
    for _ in range(3):
        call(function, weight, 5)
    assert fake.made == [(5,)]
    assert fake.replays == 3


def test_other_weights_are_another_call(fake: type[Fake]):
    function = Replayed(doubled, 1)
    for weight in (torch.tensor(3.0), torch.tensor(4.0)):
        for _ in range(5):
            call(function, weight, 5)
    assert fake.made == [(5,), (5,)]


def test_what_is_large_is_never_recorded(fake: type[Fake], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cuda_graphs, "_LARGEST", 4)
    function, weight = Replayed(doubled, 1), torch.tensor(3.0)
    for _ in range(9):
        call(function, weight, 5)
    assert fake.made == []


def test_few_sizes_are_kept_those_that_come(fake: type[Fake], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cuda_graphs, "_KEPT", 2)
    monkeypatch.setattr(cuda_graphs, "_IDLE", 6)
    function, weight = Replayed(doubled, 1), torch.tensor(3.0)
    for _ in range(6):
        for rows in (5, 6, 7):
            call(function, weight, rows)
    assert fake.made == [(5,), (6,)], "7 would have to take turns with those that still come"
    for rows in (7, 6) * 3:
        call(function, weight, rows)
    assert fake.made[2:] == [(7,)], "5 has not come for a while"
    replays = fake.replays
    call(function, weight, 6)
    assert fake.replays == replays + 1


def test_large_sizes_leave_room_for_few(fake: type[Fake], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cuda_graphs, "_ROOM", 12)
    monkeypatch.setattr(cuda_graphs, "_IDLE", 6)
    function, weight = Replayed(doubled, 1), torch.tensor(3.0)
    for rows in (5, 6) * 4 + (2,) * 4:
        call(function, weight, rows)
    assert fake.made == [(5,), (6,)], "2 more are too many while those still come"
    for rows in (2,) * 4:
        call(function, weight, rows)
    assert fake.made[2:] == [(2,)]
    assert [r.n_rows for r in function._records.values()] == [6, 2], "5 was enough to make room"


def test_while_a_backward_pass_is_due_calls_go_on_one_by_one(fake: type[Fake]):
    function, weight = Replayed(doubled, 1), torch.tensor(3.0)
    for _ in range(5):
        call(function, weight, 5)
    before = fake.replays
    fake.is_pending = True
    call(function, weight, 5)
    assert fake.replays == before


def test_what_cannot_be_recorded_is_said_once(monkeypatch: pytest.MonkeyPatch):
    def refuse(*arguments: Any) -> None:
        raise RuntimeError("operation not permitted when stream is capturing\nand so on")

    monkeypatch.setattr(cuda_graphs, "Record", refuse)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    function, weight = Replayed(doubled, 1), torch.tensor(3.0)
    for _ in range(3):
        call(function, weight, 5)
    with pytest.warns(UserWarning, match="no CUDA graphs, calls go on one by one: operation not"):
        call(function, weight, 5)
    for _ in range(9):
        call(function, weight, 5)


def test_a_copy_records_anew(fake: type[Fake]):
    function, weight = Replayed(doubled, 1), torch.tensor(3.0)
    for _ in range(4):
        call(function, weight, 5)
    other = copy.deepcopy(function)
    call(other, weight, 5)
    assert len(fake.made) == 1


@on_a_gpu
def test_replays_give_results_and_gradients_of_the_call():
    def function(weight: Tensor, x: Tensor) -> list[Tensor]:
        y = torch.sin(weight * x)
        return [y, y.square().sum().view(1)]

    replayed = Replayed(function, 1)
    weight = torch.tensor(0.7, device="cuda", requires_grad=True)
    for _ in range(8):
        x = torch.randn(50, device="cuda")
        found, expected = replayed(weight, x), function(weight, x)
        total = [r.sum() * (k + 1) for k, r in enumerate(found)]
        known = [r.sum() * (k + 1) for k, r in enumerate(expected)]
        assert torch.allclose(found[0], expected[0])
        (slope,) = torch.autograd.grad(sum(total), weight)
        assert torch.allclose(slope, torch.autograd.grad(sum(known), weight)[0], rtol=1e-4)
    assert len(replayed._records) == 1


@on_a_gpu
@pytest.mark.parametrize("relations", ["none", "vertex"])
def test_recorded_indices_are_those_of_the_cpu(relations: str):
    options = ModelOptions(relations=relations, n_channels=4, n_layers=1, dtype="float64")
    potential = random_potential(options, ELEMENTS)
    atoms = [molecule(), crystal()]
    graphs = [collate([graph_from_atoms(a, 5.0) for a in order]) for order in (atoms, atoms[::-1])]
    expected = [potential(graph).forces for graph in graphs]
    potential.to("cuda")
    for _ in range(6):
        for graph, forces in zip(graphs, expected, strict=True):
            assert torch.allclose(potential(graph.to("cuda")).forces.cpu(), forces)
    assert potential._indexing is not None
    assert len(potential._indexing._records) == 1
