from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hermnet.errors import InputError
from hermnet.training.losses import loss_function, loss_terms
from labelled import frame, joined

DELTA = 0.5
ERRORS = torch.tensor([0.2, -0.5, 2.0, -3.0], dtype=torch.float64)
BY_HAND = {
    "l1": 0.2 + 0.5 + 2.0 + 3.0,
    "l2": 0.04 + 0.25 + 4.0 + 9.0,
    # e^2 / 2 up to delta, delta (|e| - delta / 2) beyond
    "huber": 0.02 + 0.125 + 0.5 * 1.75 + 0.5 * 2.75,
}


@pytest.mark.parametrize("kind", ["l1", "l2", "huber"])
def test_every_kind_by_hand(kind: str):
    found = loss_function(kind, DELTA)(ERRORS, torch.zeros_like(ERRORS))
    assert found.sum().item() == pytest.approx(BY_HAND[kind], rel=1e-12)


def test_an_unknown_kind():
    with pytest.raises(InputError, match=r"training.loss: unknown 'hubert'; did you mean 'huber'"):
        loss_function("hubert", DELTA)


def test_sums_and_counts():
    graph, prediction = joined([frame(0), frame(1)])
    terms = loss_terms(prediction, graph, loss_function("l2", DELTA))
    assert {name: term.count for name, term in terms.items()} == {
        "energy": 2,
        "forces": 3 * (5 + 8),
        "stress": 2 * 9,
    }
    expected = (prediction.forces - graph.forces).square().sum()
    assert terms["forces"].total.item() == pytest.approx(expected.item(), rel=1e-12)
    expected = (prediction.stress - graph.stress).square().sum()
    assert terms["stress"].total.item() == pytest.approx(expected.item(), rel=1e-12)


def test_energies_count_per_atom():
    graph, prediction = joined([frame(0), frame(1)])
    terms = loss_terms(prediction, graph, loss_function("l1", DELTA))
    errors = (prediction.energy - graph.energy).abs()
    assert terms["energy"].total.item() == pytest.approx((errors[0] / 5 + errors[1] / 8).item())


@pytest.mark.parametrize("kind", ["l1", "l2", "huber"])
def test_the_mean_does_not_depend_on_batches(kind: str):
    frames, function = [frame(seed) for seed in range(4)], loss_function(kind, DELTA)
    whole = loss_terms(*joined(frames)[::-1], function)
    for batches in ([frames[:1], frames[1:]], [[one] for one in frames]):
        parts = [loss_terms(*joined(batch)[::-1], function) for batch in batches]
        for name, term in whole.items():
            total = sum(part[name].total for part in parts)
            count = sum(part[name].count for part in parts)
            mean = term.total / term.count
            torch.testing.assert_close(total / count, mean, rtol=1e-12, atol=0)


@pytest.mark.parametrize("absent", ["energy", "forces", "stress"])
def test_a_target_without_label_or_prediction_has_no_term(absent: str):
    graph, prediction = frame(0)
    function = loss_function("l2", DELTA)
    others = {"energy", "forces", "stress"} - {absent}
    assert set(loss_terms(prediction, replace(graph, **{absent: None}), function)) == others
    if absent != "energy":
        assert set(loss_terms(replace(prediction, **{absent: None}), graph, function)) == others


def test_float32_forces_are_compared_in_float32_and_energies_in_float64():
    graph, prediction = frame(0)
    short = replace(prediction, forces=prediction.forces.float().requires_grad_())
    terms = loss_terms(short, graph, loss_function("l2", DELTA))
    assert terms["forces"].total.dtype == torch.float32
    assert terms["energy"].total.dtype == torch.float64
    terms["forces"].total.backward()
    assert short.forces.grad.abs().max() > 0


@pytest.mark.parametrize("kind", ["l1", "l2", "huber"])
def test_forces_on_some_elements_count_more(kind: str):
    graph, prediction = joined([frame(0), frame(1)])
    function, table = loss_function(kind, DELTA), torch.ones(119, dtype=torch.float64)
    table[int(graph.atomic_numbers[0])] = 3.0
    found = loss_terms(prediction, graph, function, table)["forces"]
    total, count = 0.0, 0.0
    for z, one, other in zip(graph.atomic_numbers, prediction.forces, graph.forces, strict=True):
        total += float(table[z] * function(one, other).sum())
        count += 3 * float(table[z])
    assert found.total.item() == pytest.approx(total, rel=1e-12)
    assert found.count.item() == pytest.approx(count, rel=1e-12)
    alike = loss_terms(prediction, graph, function, torch.full((119,), 2.0))["forces"]
    plain = loss_terms(prediction, graph, function)["forces"]
    assert (alike.total / alike.count).item() == pytest.approx((plain.total / plain.count).item())
