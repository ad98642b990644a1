"""A run that is stopped anywhere and resumed ends as if nothing had happened, bit by bit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from hermnet import runs
from hermnet.config import Recipe
from hermnet.task import PotentialTask
from same import assert_same_runs

pytestmark = pytest.mark.filterwarnings("ignore:relations with few training edges")

FLOAT64 = ("model.dtype=float64", "data.batch_size=2", "trainer.max_epochs=3")  # 4 batches each
SCHEDULER = "training.scheduler.class_path=torch.optim.lr_scheduler."


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take longer than the runs."""
    for name in ("draw_parity", "learning_curve"):
        monkeypatch.setattr(runs, name, lambda *_: None)


class Crash(Exception):
    """The power fails."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.data(tmp_path_factory.mktemp("data"))


def crash_in(monkeypatch: pytest.MonkeyPatch, hook: str, calls: int) -> None:
    """Let a hook of the task fail when it is called for the given time from now."""
    original, left = getattr(PotentialTask, hook), [calls]

    def failing(task: PotentialTask, *arguments: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            raise Crash
        return original(task, *arguments)

    monkeypatch.setattr(PotentialTask, hook, failing)


CRASHES: dict[str, tuple[Sequence[str], Sequence[tuple[str, int]]]] = {
    "averages, cosine by epochs": (
        (f"{SCHEDULER}CosineAnnealingLR", "training.scheduler.T_max=3"),
        [("training_step", 3), ("validation_step", 2), ("on_train_epoch_end", 1)],
    ),
    "plateau": (
        (
            f"{SCHEDULER}ReduceLROnPlateau",
            "training.scheduler.patience=0",
            "training.ema_decay=null",
        ),
        [("training_step", 6), ("training_step", 2), ("on_validation_epoch_end", 1)],
    ),
    "steps, accumulated": (
        (
            f"{SCHEDULER}ExponentialLR",
            "training.scheduler.gamma=0.9",
            "training.scheduler_interval=step",
            "trainer.accumulate_grad_batches=2",
        ),
        [("training_step", 4), ("training_step", 3), ("validation_step", 1)],
    ),
    "validated within epochs": (
        ("trainer.val_check_interval=2",),
        [("training_step", 4), ("validation_step", 3), ("training_step", 5)],
    ),
    "validated every other epoch": (
        ("trainer.check_val_every_n_epoch=2", "trainer.max_epochs=4"),
        [("training_step", 10), ("training_step", 3)],
    ),
    "a number of steps, batches by edges": (
        ("trainer.max_epochs=null", "trainer.max_steps=9", "data.max_edges_per_batch=90"),
        [("training_step", 3), ("training_step", 2), ("validation_step", 1), ("training_step", 2)],
    ),
}


@pytest.mark.parametrize("every", [1, 1000], ids=["saved within epochs", "saved after epochs"])
@pytest.mark.parametrize("case", CRASHES)
def test_a_crashed_run_ends_like_one_that_was_let_be(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str, every: int
):
    options, crashes = CRASHES[case]
    overrides = (*FLOAT64, *options, f"training.checkpoint_steps={every}")
    whole = runs.fit(tiny.recipe(tmp_path / "whole", data, *overrides))
    recipe = tiny.recipe(tmp_path / "parts", data, *overrides)
    folder = runs.RunFolder.of(recipe.name, recipe.trainer)
    for hook, calls in crashes:
        with monkeypatch.context() as patch:
            crash_in(patch, hook, calls)
            with pytest.raises(Crash):
                start_or_resume(recipe)
        torch.manual_seed(calls)  # no matter
    start_or_resume(recipe)
    assert_same_runs(folder, whole.folder)


def start_or_resume(recipe: Recipe) -> runs.Run:
    """What a loop around the command would do until it succeeds."""
    saved = runs.RunFolder.of(recipe.name, recipe.trainer).last.is_file()
    return runs.fit(recipe, resume="last" if saved else None, overwrite=not saved)
