from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tiny
from hermnet.errors import InputError
from hermnet.run.commands import fit
from hermnet.run.plots import read_curves
from hermnet.training.options import TrainingOptions


def test_weights_follow_the_schedule():
    options = TrainingOptions(
        forces_weight=10.0,
        loss_schedule=[{"epoch": 5, "energy_weight": 7.0}, {"epoch": 2, "forces_weight": 3.0}],
    )
    assert options.scheduled(1) == {}
    assert options.scheduled(2) == {"forces": 3.0}
    assert options.scheduled(5) == {"forces": 3.0, "energy": 7.0}


@pytest.mark.filterwarnings("ignore:relations with few training edges")
def test_a_run_follows_the_schedule(tmp_path: Path):
    """Without a learning rate the terms stay, and the loss is their sum with today's weights."""
    overrides = (
        "training.optimizer.lr=0",
        "training.loss_schedule=[{epoch: 1, energy_weight: 50}]",
        "training.element_weights={H: 4}",
    )
    run = fit(tiny.recipe(tmp_path, tiny.data(tmp_path / "data"), *overrides))
    curves = read_curves(run.folder.metrics())
    energy, forces = (curves[f"train_{name}_loss"][:, 1] for name in ("energy", "forces"))
    loss = curves["train_loss"][:, 1]
    assert loss[0] == pytest.approx(energy[0] + 10 * forces[0], rel=1e-5)
    assert loss[1] == pytest.approx(50 * energy[1] + 10 * forces[1], rel=1e-5)
    plain = fit(tiny.recipe(tmp_path / "plain", tmp_path / "data", overrides[0]))
    assert read_curves(plain.folder.metrics())["train_forces_loss"][0, 1] != forces[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"warmup_steps": -1}, "training.warmup_steps: -1 is too small; at least 0"),
        ({"element_weights": {"Hh": 1.0}}, "training.element_weights: 'Hh' is no element symbol"),
        ({"element_weights": {"H": 0.0}}, "training.element_weights: H: 0.0 is not positive"),
        (
            {"loss_schedule": [{"epoch": 1, "energy_wieght": 1.0}]},
            "training.loss_schedule: unknown 'energy_wieght'; did you mean 'energy_weight'",
        ),
        ({"loss_schedule": [{"energy_weight": 1.0}]}, "does not say from which epoch"),
        ({"loss_schedule": [{"epoch": 1, "forces_weight": -2.0}]}, "forces_weight: -2.0 is neg"),
        (
            {"loss_schedule": [{"epoch": 1, "stress_weight": 2.0}]},
            "stress_weight is 0 at the start, so the stress would not be predicted",
        ),
    ],
    ids=str,
)
def test_options_that_cannot_be_used(options: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        TrainingOptions(**options)
