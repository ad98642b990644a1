"""Runs of the command that are killed without warning, again and again, and resumed."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

import forked
import victim
from hermnet.kernels.library import library
from hermnet.run.folder import RunFolder
from same import assert_same_runs

N_KILLS = 10
OPTIONS = {
    "base": "quickstart",
    "data": {"n_train": 60, "n_val": 12, "n_test": 8, "batch_size": 4},
    "model": {"dtype": "float64", "n_channels": 16, "n_layers": 2},
    "training": {"checkpoint_steps": 4, "ema_decay": 0.9},
    "trainer": {"max_epochs": 8, "accelerator": "cpu", "enable_progress_bar": False},
}

pytestmark = pytest.mark.slow


def recipe(folder: Path) -> Path:
    folder.mkdir()
    options = OPTIONS["trainer"] | {"default_root_dir": str(folder / "run")}
    path = folder / "r.yaml"
    path.write_text(yaml.safe_dump(OPTIONS | {"name": "r", "trainer": options}))
    return path


def start(path: Path, place: str = "nowhere", count: int = 0) -> BaseProcess:
    """The command, new or resumed."""
    folder = RunFolder(path.parent / "run")
    how = "--resume" if folder.last.is_file() else "--overwrite"
    arguments = ["fit", "--config", str(path), how]
    return forked.start(victim.run, place, count, arguments, errors=errors(path))


def errors(path: Path) -> Path:
    return path.with_name("errors.txt")


def finish(path: Path) -> None:
    forked.finish(start(path), errors(path), 300)


class Whole(NamedTuple):
    """The run that nobody disturbs."""

    folder: RunFolder
    seconds: float  # from its start to its end


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    path = recipe(tmp_path_factory.mktemp("kill") / "whole")
    for name in ("affine", "message", "perceptron"):
        library(name)  # the only run that compiled them would tell nothing of the others
    finish(path)
    folder = RunFolder(path.parent / "run")
    return Whole(folder, time.time() - folder.starts.stat().st_mtime)


def killed_until_the_end(path: Path, kill: Callable[[random.Random], bool]) -> int:
    """Kill the run ten times, or as often as it has not ended, and let it end."""
    dice = random.Random(7)
    n_kills = sum(kill(dice) for _ in range(N_KILLS))
    finish(path)
    return n_kills


def test_killed_at_random_moments(whole: Whole, tmp_path: Path):
    path = recipe(tmp_path / "parts")
    folder = RunFolder(path.parent / "run")

    def kill(dice: random.Random) -> bool:
        before = folder.starts.stat().st_mtime_ns if folder.starts.is_file() else 0
        process = start(path)
        while not folder.starts.is_file() or folder.starts.stat().st_mtime_ns == before:
            assert process.is_alive()
            time.sleep(0.01)
        # in all half of what an undisturbed run takes, and what is lost comes again
        time.sleep(dice.uniform(0.1, 1.0) * whole.seconds / N_KILLS)
        process.kill()
        process.join()
        return process.exitcode == -signal.SIGKILL

    assert killed_until_the_end(path, kill) >= N_KILLS - 2
    assert_same_runs(folder, whole.folder)


def test_killed_in_random_places(whole: Whole, tmp_path: Path):
    path = recipe(tmp_path / "parts")
    most = {"step": 15, "validation": 1, "epoch end": 1, "writing": 4, "rename": 6}
    most["between best and last"] = 1

    def kill(dice: random.Random) -> bool:
        place = dice.choice(sorted(most))
        process = start(path, place, dice.randint(1, most[place]))
        process.join(300)
        return process.exitcode == -signal.SIGKILL

    assert killed_until_the_end(path, kill) >= N_KILLS - 2
    assert_same_runs(RunFolder(path.parent / "run"), whole.folder)
