from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ablations import AXES, base
from hermnet.ablation import trial
from hermnet.ablation.grid import Grid
from hermnet.ablation.plan import Plan, Planned
from hermnet.ablation.planning import Base, make_plan
from hermnet.ablation.trial import Trials
from hermnet.errors import InputError, InputErrors

SCHEDULE = "torch.optim.lr_scheduler.CosineAnnealingLR"


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return base(tmp_path_factory.mktemp("planning"))


@pytest.fixture(scope="module")
def trials() -> Trials:
    return Trials()


@pytest.fixture(scope="module")
def planned(recipe: Base, trials: Trials) -> Planned:
    recipe = Base(recipe.config, ["training.ema_decay=0.9"])
    return make_plan(recipe, Grid(AXES, seeds=(0, 5)), trials)


def wrong(recipe: Base, trials: Trials, axes: dict[str, list[Any]], **settings: Any) -> list[str]:
    with pytest.raises(InputErrors) as caught:
        make_plan(recipe, Grid(axes, **settings), trials)
    return caught.value.messages


def test_each_run_has_its_recipe(planned: Planned):
    names = [run.name for run in planned.plan.runs]
    assert names[:4] == ["painn-none-s0", "painn-vertex-s0", "schnet-none-s0", "schnet-vertex-s0"]
    assert len(names) == len(set(names)) == 8
    last = planned.recipes["schnet-vertex-s5"]
    assert (last.model.subnet["name"], last.model.relations) == ("schnet", "vertex")
    assert (last.training.seed, last.name) == (5, "schnet-vertex-s5")
    assert last.training.ema_decay == 0.9


def test_parameters_are_counted(planned: Planned):
    counts = {label: variant.parameters for label, variant in planned.plan.variants.items()}
    assert counts["painn-none"] < counts["painn-vertex"]
    assert counts["schnet-none"] < counts["painn-none"]


def test_a_plan_is_read_back(planned: Planned):
    assert Plan.from_json(planned.plan.to_json()) == planned.plan


def test_any_option_of_a_recipe_can_be_an_axis(recipe: Base, trials: Trials):
    subnets = ["painn", {"default": "schnet", "O": "painn"}]
    grid = Grid({"model.subnet": subnets, "model.sharing": ["independent", "basis:2"]})
    plan = make_plan(recipe, grid, trials)
    hybrid = plan.recipes["default=schnet,O=painn-basis_2-s0"].model
    assert set(hybrid.subnet) == {"default", "O"}
    assert hybrid.sharing == "basis:2"


def test_equal_parameters(recipe: Base, trials: Trials):
    wide = Base(recipe.config, ["model.n_channels=48", "model.n_radial=20"])
    plan = make_plan(wide, Grid(AXES, equal="parameters"), trials).plan
    target = plan.variants["painn-none"].parameters
    assert plan.target == target
    for variant in plan.variants.values():
        assert abs(variant.parameters / target - 1) <= 0.02
    assert plan.variants["painn-none"].changes == {}
    assert set(plan.variants["painn-vertex"].changes) <= {"model.n_channels", "model.n_radial"}


def test_equal_parameters_that_are_impossible_name_the_run(recipe: Base, trials: Trials):
    axes = {"model.relations": ["none", "triadic"], "model.subnet": ["schnet"]}
    (message,) = wrong(recipe, trials, axes, equal="parameters")
    assert message.startswith("run triadic-schnet: no width gives it ")


def test_equal_time_gives_epochs_and_the_schedule_follows(
    recipe: Base, trials: Trials, monkeypatch: pytest.MonkeyPatch
):
    seconds = {"none": 0.1, "vertex": 0.25}
    measured = lambda recipe, data, n_steps: seconds[recipe.model.relations]  # noqa: E731
    monkeypatch.setattr(trial, "_measured", measured)
    schedule = f"training.scheduler={{class_path: {SCHEDULE}, T_max: '${{trainer.max_epochs}}'}}"
    overridden = Base(recipe.config, ["trainer.max_epochs=50", schedule])
    plan = make_plan(overridden, Grid({"model.relations": list(seconds)}, equal="time"), Trials())
    assert plan.plan.target == pytest.approx(50 * 3 * 0.1)  # three batches in an epoch
    assert plan.recipes["none-s0"].trainer["max_epochs"] == 50
    assert plan.recipes["vertex-s0"].trainer["max_epochs"] == 20
    assert plan.recipes["vertex-s0"].training.scheduler["T_max"] == 20
    assert plan.notes == ()
    grid = Grid({"model.relations": list(seconds)}, equal="time", minutes=0.5)
    assert make_plan(overridden, grid, Trials()).recipes["vertex-s0"].trainer["max_epochs"] == 40


def test_equal_steps_with_other_batches(recipe: Base, trials: Trials):
    schedule = f"training.scheduler={{class_path: {SCHEDULE}, T_max: 12}}"
    overridden = Base(recipe.config, ["trainer.max_epochs=12", schedule])
    plan = make_plan(overridden, Grid({"data.batch_size": [4, 1]}, equal="steps"), trials)
    assert plan.plan.target == 24
    assert plan.recipes["batch_size=1-s0"].trainer["max_epochs"] == 3
    assert plan.notes[0].startswith(f"{SCHEDULE} does not follow the number of epochs")


def test_a_budget_below_an_epoch_is_refused(recipe: Base, trials: Trials):
    (message,) = wrong(recipe, trials, {"data.batch_size": [1]}, equal="steps", steps=3)
    assert message == "the equal budget of 3 steps is too small: an epoch takes 8 steps"


def test_an_axis_cannot_be_what_equality_chooses(recipe: Base, trials: Trials):
    with pytest.raises(InputError, match=r"model.n_channels is an axis, and equal"):
        make_plan(recipe, Grid({"model.n_channels": [4, 8]}, equal="parameters"), trials)


def test_a_key_that_does_not_exist_is_said_once(recipe: Base, trials: Trials):
    (message,) = wrong(recipe, trials, {"model.relation": ["none", "vertex"]})
    assert message.startswith("model.relation: unknown option; did you mean 'relations'?")
    (message,) = wrong(recipe, trials, {"modell.relations": ["none", "vertex"]})
    assert message.startswith("modell: unknown section; did you mean 'model'?")


def test_a_value_that_cannot_be_built_names_its_runs(recipe: Base, trials: Trials):
    axes = {"model.subnet": ["painn", "schnet"], "model.lmax": [1, 0]}
    (message,) = wrong(recipe, trials, axes)
    assert message.startswith("run painn-lmax=0: model.lmax: 0 is too small for the sub-network")
    (message,) = wrong(recipe, trials, {**AXES, "model.subnet": ["painn", "schnett"]})
    assert message.startswith("run schnett-none, schnett-vertex: model.subnet.name: unknown ")


def test_data_without_the_labels_are_refused(recipe: Base, trials: Trials):
    (message,) = wrong(recipe, trials, {"training.stress_weight": [0.0, 1.0]})
    assert message.startswith("run stress_weight=1.0: training.stress_weight is positive, but not")


def test_widths_of_an_earlier_plan_are_kept(recipe: Base, trials: Trials):
    wide = Base(recipe.config, ["model.n_channels=48", "model.n_radial=20"])
    earlier = make_plan(wide, Grid(AXES, equal="parameters"), trials).plan
    more = Grid({**AXES, "model.relations": ["none", "vertex", "pair"]}, equal="parameters")
    plan = make_plan(wide, more, trials, earlier).plan
    for label, variant in earlier.variants.items():
        assert plan.variants[label] == variant
    assert "schnet-pair" in plan.variants


def test_a_study_is_for_ablate_only(tmp_path: Path):
    from hermnet.recipes.config import resolve

    with pytest.raises(InputErrors, match=r"grid: this recipe is a study .* hermnet ablate"):
        resolve("ethanol_quick")
