from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

import properties
from hermnet.graph import AtomicGraph, collate
from hermnet.property_model import PropertyModel, PropertyPrediction
from hermnet.training.losses import loss_function
from hermnet.training.options import TrainingOptions
from hermnet.training.property_objective import PropertyObjective
from hermnet.training.targets import Labels
from hermnet.training.task import PotentialTask

DATA = properties.Molecules()


@pytest.fixture
def model() -> PropertyModel:
    model = properties.random_model("mean")  # gap and u0
    model.target_scales.copy_(torch.tensor([0.5, 20.0]))
    return model


def objective(model: PropertyModel, kind: str = "l2", **weights: float) -> PropertyObjective:
    labels = Labels.locate(model.targets, model.units, DATA.scalar_names, DATA.scalar_units)
    return PropertyObjective(model, labels, weights, loss_function(kind, 0.1))


def labelled(*rows: tuple[float, float]) -> AtomicGraph:
    """Molecules with these values of gap and u0."""
    graphs = []
    for index, (gap, u0) in enumerate(rows):
        scalars = torch.tensor([[gap, u0, 0.0, 0.0, 0.0]], dtype=torch.float64)
        graphs.append(replace(DATA.frame(index), scalars=scalars))
    return collate(graphs)


def prediction(*rows: tuple[float, float]) -> PropertyPrediction:
    return PropertyPrediction(torch.tensor(rows, dtype=torch.float64))


NAN = float("nan")
GRAPH = labelled((1.0, -100.0), (2.0, NAN), (NAN, -200.0))
FOUND = prediction((1.5, -110.0), (2.0, 5.0), (9.0, -180.0))


@pytest.mark.parametrize(
    ("kind", "gap", "u0"),
    [
        ("l2", (0.5 / 0.5) ** 2, (10 / 20) ** 2 + 1.0),
        ("l1", 1.0, 1.5),
        ("huber", 0.1 * (1.0 - 0.05), 0.1 * (0.5 - 0.05) + 0.1 * (1.0 - 0.05)),
    ],
)
def test_losses_are_of_values_over_their_scale(
    model: PropertyModel, kind: str, gap: float, u0: float
):
    terms = objective(model, kind).terms(FOUND, GRAPH)
    assert terms["gap"].total.item() == pytest.approx(gap, rel=1e-10)
    assert terms["u0"].total.item() == pytest.approx(u0, rel=1e-10)
    assert (terms["gap"].count, terms["u0"].count) == (2, 2)


def test_errors_are_in_units_of_the_targets(model: PropertyModel):
    goal = objective(model)
    whole, parts = goal.errors(), goal.errors()
    whole.update(FOUND, GRAPH)
    parts.update(prediction((1.5, -110.0)), labelled((1.0, -100.0)))
    parts.update(prediction((2.0, 5.0), (9.0, -180.0)), labelled((2.0, NAN), (NAN, -200.0)))
    errors = whole.reduce(lambda sums: sums)
    assert errors == parts.reduce(lambda sums: sums)
    assert errors == pytest.approx(
        {"gap_mae": 0.25, "gap_rmse": (0.25 / 2) ** 0.5, "u0_mae": 15.0, "u0_rmse": 250.0**0.5}
    )
    logged = goal.logged(errors)
    assert logged["mae_over_scale"] == pytest.approx((0.25 / 0.5 + 15.0 / 20.0) / 2)
    assert {key: logged[key] for key in errors} == errors
    doubled = whole.reduce(lambda sums: 2 * sums)
    assert doubled == pytest.approx(errors), "two processes with the same share"


def test_a_target_without_labels_has_no_error(model: PropertyModel):
    goal = objective(model)
    errors = goal.errors()
    errors.update(prediction((1.5, 0.0)), labelled((1.0, NAN)))
    found = errors.reduce(lambda sums: sums)
    assert set(found) == {"gap_mae", "gap_rmse"}
    assert goal.logged(found)["mae_over_scale"] == pytest.approx(1.0)
    assert goal.logged({}) == {}


def test_what_is_best(model: PropertyModel):
    assert objective(model).monitor() == "mae_over_scale"
    assert objective(model, u0=0.0).monitor() == "gap_mae"
    single = properties.random_model("polarizability")
    assert objective(single).monitor() == "alpha_mae"


def test_weights_are_one_unless_given(model: PropertyModel):
    assert objective(model, u0=3.0).weights() == {"gap": 1.0, "u0": 3.0}


def test_the_loss_of_the_task_is_the_weighted_sum_of_means(
    model: PropertyModel, monkeypatch: pytest.MonkeyPatch
):
    task = PotentialTask(model, TrainingOptions(), {}, objective(model, gap=2.0, u0=0.5))
    logged: dict[str, Tensor] = {}
    monkeypatch.setattr(task, "log", lambda name, value, **_: logged.update({name: value}))
    monkeypatch.setattr(PropertyObjective, "predict", lambda self, graph: FOUND)
    monkeypatch.setattr(PotentialTask, "trainer", _Trainer())
    loss = task.training_step(GRAPH, 0)
    assert loss.item() == pytest.approx(2.0 * 1.0 / 2 + 0.5 * 1.25 / 2)
    task.on_train_epoch_end()
    assert {name: value.item() for name, value in logged.items()} == pytest.approx(
        {"train_loss": loss.item(), "train_gap_loss": 0.5, "train_u0_loss": 0.625}
    )
    bare = labelled((NAN, NAN))
    monkeypatch.setattr(PropertyObjective, "predict", lambda self, graph: prediction((1.0, 2.0)))
    assert task.training_step(bare, 1).item() == 0.0
    assert task.monitor() == "val_mae_over_scale"


class _Trainer:
    world_size = 1


def test_a_task_of_properties_needs_its_objective(model: PropertyModel):
    with pytest.raises(TypeError, match="needs an objective"):
        PotentialTask(model, TrainingOptions(), {})
