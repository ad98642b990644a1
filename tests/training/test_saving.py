"""A run that is stopped anywhere and resumed ends as if nothing had happened, bit by bit."""

from __future__ import annotations

import errno
import os
import re
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from hermnet.checkpoints import io as checkpoint_io
from hermnet.checkpoints.checkpoint import read_checkpoint
from hermnet.cli import main
from hermnet.errors import InputError, Interrupted
from hermnet.host.lock import Lock
from hermnet.recipes.config import Recipe, resolve
from hermnet.run import commands as runs
from hermnet.run import pictures
from hermnet.training.cost import read_cost
from hermnet.training.history import History
from hermnet.training.task import PotentialTask
from same import assert_same, assert_same_runs, raw

pytestmark = pytest.mark.filterwarnings("ignore:relations with few training edges")

FLOAT64 = ("model.dtype=float64", "data.batch_size=2", "trainer.max_epochs=3")  # 4 batches each
SCHEDULER = "training.scheduler.class_path=torch.optim.lr_scheduler."


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither pictures nor waiting for the disk, which take longer than the runs."""
    monkeypatch.setattr(
        runs, "leave_results", lambda folder, model, results: pictures._write(folder, results)
    )
    monkeypatch.setattr(os, "fsync", lambda _: None)


class Crash(Exception):
    """The power fails."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.data(tmp_path_factory.mktemp("data"))


def during(monkeypatch: pytest.MonkeyPatch, hook: str, calls: int, act: Callable[[], None]) -> None:
    """Let something happen when a hook of the task is called for the given time."""
    original, left = getattr(PotentialTask, hook), [calls]

    def acting(task: PotentialTask, *arguments: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            act()
        return original(task, *arguments)

    monkeypatch.setattr(PotentialTask, hook, acting)


def crash() -> None:
    raise Crash


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
@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=[pytest.mark.slow] if k else []) for k, case in enumerate(CRASHES)],
)
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
            during(patch, hook, calls, crash)
            with pytest.raises(Crash):
                start_or_resume(recipe)
        torch.manual_seed(calls)  # no matter
    start_or_resume(recipe)
    assert_same_runs(folder, whole.folder)
    assert read_cost(folder.cost)["steps"] == read_cost(whole.folder.cost)["steps"]


def start_or_resume(recipe: Recipe) -> runs.Run:
    """What a loop around the command would do until it succeeds."""
    saved = runs.RunFolder.of(recipe.name, recipe.trainer).last.is_file()
    return runs.fit(recipe, resume="last" if saved else None, overwrite=not saved)


SHORT = ("trainer.max_epochs=2", "trainer.logger=false")


@pytest.fixture(scope="module")
def short(data: Path, tmp_path_factory: pytest.TempPathFactory) -> runs.RunFolder:
    """A run of eight steps that nobody disturbs."""
    return runs.fit(tiny.recipe(tmp_path_factory.mktemp("short"), data, *FLOAT64, *SHORT)).folder


def test_two_runs_agree_in_every_bit(data: Path, tmp_path: Path, short: runs.RunFolder):
    """The second knows nothing but the first one's folder."""
    torch.manual_seed(1)
    recipe = resolve(str(short.recipe), [f"trainer.default_root_dir={tmp_path}/run", "name=tiny"])
    assert_same_runs(runs.fit(recipe).folder, short)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("hook", "calls", "where", "step"),
    [
        ("training_step", 3, "epoch 1, batch 3 of 4", 3),
        ("training_step", 4, "the end of epoch 1", 4),
        ("validation_step", 2, "the end of epoch 1", 4),  # the first is Lightning's trial
        ("validation_step", 3, "the end of epoch 2", 8),
    ],
)
def test_a_signal_saves_and_ends(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    short: runs.RunFolder,
    number: int,
    hook: str,
    calls: int,
    where: str,
    step: int,
):
    path = tiny.recipe_file(tmp_path, data)
    arguments = ["fit", "--config", str(path), *FLOAT64, *SHORT]
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    with monkeypatch.context() as patch:
        during(patch, hook, calls, lambda: os.kill(os.getpid(), number))
        assert main(arguments) == 128 + number
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before
    folder = runs.RunFolder(tmp_path / "run")
    said = f"{signal.Signals(number).name}: saved {folder.last} ({where}); go on with --resume"
    assert said in capfd.readouterr().err
    assert read_checkpoint(folder.last).step == step
    assert not folder.lock.exists()
    assert main([*arguments, "--resume"]) == 0
    assert_same_runs(folder, short)


def out_of_space(_: int) -> None:
    raise OSError(errno.ENOSPC, "No space left")


def test_a_full_disk_leaves_the_checkpoint_before(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short: runs.RunFolder
):
    recipe = tiny.recipe(tmp_path, data, *FLOAT64, *SHORT, "training.checkpoint_steps=1")
    folder, count = runs.RunFolder.of(recipe.name, recipe.trainer), [0]
    original = checkpoint_io.write_atomically

    def full(path: Path, content: bytes) -> None:
        count[0] += 1
        with monkeypatch.context() as patch:
            if count[0] == 7:
                patch.setattr(os, "fsync", out_of_space)
            original(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint_io, "write_atomically", full)
        message = r"cannot write .*last.ckpt: No space left; free some .* before is intact"
        with pytest.raises(InputError, match=message):
            runs.fit(recipe)
    assert read_checkpoint(folder.last).step == 6, "the fourth is best and last at once"
    assert not list(folder.checkpoints.glob("*.part"))
    runs.fit(recipe, resume="last")
    one, other = (raw(f.last)["state_dict"] for f in (folder, short))
    assert_same(one, other)


def test_a_run_folder_that_another_process_writes(data: Path, tmp_path: Path):
    recipe = tiny.recipe(tmp_path, data, *SHORT)
    folder = runs.RunFolder.of(recipe.name, recipe.trainer)
    lock = Lock(folder.lock)
    folder.prepare(False, lock)
    before = sorted(tmp_path.rglob("*"))
    for options in ({}, {"overwrite": True}):
        with pytest.raises(InputError, match=rf"{folder.path} is in use by process {os.getpid()}"):
            runs.fit(recipe, **options)
    assert sorted(tmp_path.rglob("*")) == before
    lock.release()


def test_a_run_folder_that_cannot_be_written_to(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short: runs.RunFolder
):
    recipe = tiny.recipe(short.path.parent, data, *FLOAT64, *SHORT, "trainer.max_epochs=3")
    original = os.open

    def refuse(path: Any, *arguments: Any) -> int:
        if Path(path) == short.lock:
            raise PermissionError(13, "Permission denied")
        return original(path, *arguments)

    before = short.last.read_bytes()
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(InputError, match=rf"cannot write to {short.path}: Permission denied"):
        runs.fit(recipe, resume="last")
    assert short.last.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["data.batch_size=3"], "(epoch 1, batch 3 of 4) of other batches, for data.batch_size ch"),
        (["data.seed=1"], "of other batches, for data.seed changed"),
        (["data.train={0}/val.xyz"], "of other batches, for the training frames changed"),
        (["model.n_channels=8"], "was trained with other options: model.n_channels=4; resume with"),
        (
            ["model.relations=pair"],
            "was trained with other options: model.relations=vertex; resume with",
        ),
        (["data.train={1}", "data.val=null", "data.test=null"], "the train frames have Cu, Au"),
    ],
)
def test_a_run_is_not_resumed_with_other_data_or_another_model(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: list[str], message: str
):
    alloy = tiny.write(tmp_path / "alloy.xyz", [tiny.alloy(0)])
    recipe = tiny.recipe(tmp_path, data, *FLOAT64, *SHORT)
    with monkeypatch.context() as patch:
        during(patch, "training_step", 3, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(Interrupted):
            runs.fit(recipe)
    before = runs.RunFolder.of(recipe.name, recipe.trainer).last.read_bytes()
    changed = tiny.recipe(
        tmp_path, data, *FLOAT64, *SHORT, *(text.format(data, alloy) for text in change)
    )
    with pytest.raises(InputError, match=re.escape(message)):
        runs.fit(changed, resume="last")
    assert runs.RunFolder.of(recipe.name, recipe.trainer).last.read_bytes() == before


def test_the_latest_checkpoints_are_kept(data: Path, tmp_path: Path):
    options = ("training.keep_last=3", "training.checkpoint_steps=3")
    folder = runs.fit(tiny.recipe(tmp_path, data, *FLOAT64, *SHORT, *options)).folder
    names = sorted(path.name for path in folder.checkpoints.iterdir())
    assert names == ["best.ckpt", "last.ckpt", "step-4.ckpt", "step-7.ckpt", "step-8.ckpt"]
    steps = [read_checkpoint(folder.checkpoints / name).step for name in names[1:]]
    assert steps == [8, 4, 7, 8]
    recipe = tiny.recipe(tmp_path, data, *FLOAT64, *SHORT, "trainer.max_epochs=3", *options)
    runs.fit(recipe, resume=str(folder.checkpoints / "step-7.ckpt"))
    assert read_checkpoint(folder.last).step == 12


def test_time_makes_a_checkpoint_due(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    saved: list[int] = []
    monkeypatch.setattr(History, "add", lambda _, last, step: saved.append(step))
    runs.fit(tiny.recipe(tmp_path, data, *FLOAT64, *SHORT, "training.checkpoint_minutes=1e-9"))
    assert saved == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_run_that_stopped_early_stays_so_unless_asked_otherwise(data: Path, tmp_path: Path):
    stopping = {
        "class_path": "pytorch_lightning.callbacks.EarlyStopping",
        "monitor": "val_forces_mae",
        "patience": 1,
    }
    recipe = tiny.recipe(
        tmp_path, data, *FLOAT64, "trainer.max_epochs=9", "training.optimizer.lr=0"
    )
    recipe = replace(recipe, trainer=recipe.trainer | {"callbacks": [stopping], "logger": False})
    folder = runs.fit(recipe).folder
    assert read_checkpoint(folder.last).epoch == 1
    runs.fit(recipe, resume="last")
    assert read_checkpoint(folder.last).epoch == 1
    patient = [stopping | {"patience": 3}]
    runs.fit(replace(recipe, trainer=recipe.trainer | {"callbacks": patient}), resume="last")
    assert read_checkpoint(folder.last).epoch > 1
