"""What a user sees who gave something wrong: a line for each problem, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase.build import molecule as ase_molecule

import tiny
from answers import assert_refused, contents, hermnet

pytestmark = pytest.mark.filterwarnings("ignore:relations with few training edges")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.data(tmp_path_factory.mktemp("data"))


def spoilt(folder: Path, split: str, spoil: Callable[[Any], Any]) -> None:
    """Replace the second frame of a split."""
    frames = ase.io.read(folder / f"{split}.xyz", ":")
    frames[1] = spoil(frames[1])
    tiny.write(folder / f"{split}.xyz", frames)


def with_nan(atoms: Any) -> Any:
    atoms.calc.results["forces"][2, 1] = np.nan
    return atoms


def with_nan_position(atoms: Any) -> Any:
    atoms.positions[0, 0] = np.nan
    return atoms


def with_a_pair_at_one_place(atoms: Any) -> Any:
    atoms.positions[3] = atoms.positions[1]
    return atoms


def without_forces(atoms: Any) -> Any:
    del atoms.calc.results["forces"]
    return atoms


def with_nitrogen(_: Any) -> Any:
    return tiny.labelled(ase_molecule("NH3"))


def emptied(folder: Path, split: str) -> None:
    (folder / f"{split}.xyz").write_text("")


WRONG: dict[str, tuple[Callable[[Path], Any] | None, list[str], list[str]]] = {
    "unknown key": (
        None,
        ["model.cutof=3"],
        ["model.cutof: unknown option; did you mean 'cutoff'?"],
    ),
    "unknown name": (
        None,
        ["model.subnet=pain"],
        ["model.subnet.name: unknown sub-network 'pain'; did you mean 'painn'?"],
    ),
    "wrong type": (None, ["model.n_layers=two"], ["model.n_layers: expected"]),
    "several": (
        None,
        ["model.n_layers=two", "training.lr=1", "trainer.max_epoch=3", "data.batch_size=0"],
        [
            "data.batch_size must be at least 1, not 0",
            "model.n_layers: expected",
            "training.lr: unknown option",
            "trainer.max_epoch: unknown option; did you mean 'max_epochs'?",
        ],
    ),
    "missing file": (
        None,
        ["data.train=nowhere/train.xyz"],
        ["train: no file 'nowhere/train.xyz': there is no folder nowhere"],
    ),
    "element that train lacks": (
        lambda folder: spoilt(folder, "val", with_nitrogen),
        [],
        ["the val frames have N, which no training frame has (elements there: H, C, O)"],
    ),
    "two atoms at one place": (
        lambda folder: spoilt(folder, "train", with_a_pair_at_one_place),
        [],
        ["train frame 1: atoms 1 (O) and 3 (H) are 0 A apart"],
    ),
    "NaN in labels": (
        lambda folder: spoilt(folder, "val", with_nan),
        [],
        ["val.xyz, frame 1: forces 'forces' has NaN or infinity"],
    ),
    "NaN in positions": (
        lambda folder: spoilt(folder, "train", with_nan_position),
        [],
        ["train frame 1: positions with NaN or infinity"],
    ),
    "a frame without forces": (
        lambda folder: spoilt(folder, "train", without_forces),
        [],
        ["train.xyz, frame 1: no forces 'forces'"],
    ),
    "energies though the loss wants forces": (
        None,
        ["data.labels=[energy]"],
        ["training.forces_weight is positive, but not every train frame has forces (labels there:"],
    ),
    "an empty file": (lambda folder: emptied(folder, "train"), [], ["train.xyz"]),
    "one frame to train and validate on": (
        lambda folder: tiny.write(folder / "train.xyz", [tiny.methanol(0)]),
        ["data.val=null", "data.n_val=1"],
        ["val 1 leaves nothing to train on: there are 1 frames"],
    ),
    "nothing to resume": (None, ["--resume"], ["there is no checkpoint run/checkpoints/last.ckpt"]),
    "a checkpoint that is not there": (
        None,
        ["--resume", "no.ckpt"],
        ["no checkpoint no.ckpt"],
    ),
    "a trainer that lightning refuses": (
        None,
        ["trainer.accelerator=abacus"],
        ["trainer: You selected an invalid accelerator name: `accelerator='abacus'`"],
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_in_a_line_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    spoil, options, messages = WRONG[name]
    tiny.data(tmp_path)
    tiny.recipe_file(tmp_path, tmp_path)
    monkeypatch.chdir(tmp_path)
    if spoil is not None:
        spoil(tmp_path)
    before = contents(tmp_path)
    argv = ["fit", "--config", "tiny.yaml", "trainer.default_root_dir=run", *options]
    assert_refused(hermnet(*argv), *messages)
    assert not (tmp_path / "run").exists()
    assert contents(tmp_path) == before


def test_a_file_where_the_run_should_be(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    tiny.recipe_file(tmp_path, data)
    monkeypatch.chdir(tmp_path)
    answer = hermnet("fit", "--config", "tiny.yaml", "trainer.default_root_dir=tiny.yaml/run")
    assert_refused(answer, "the run's folder cannot be tiny.yaml/run: tiny.yaml is a file")


@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_there_is_no_run_yet(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
):
    tiny.recipe_file(tmp_path, data)
    monkeypatch.chdir(tmp_path)
    answer = hermnet(command, "--config", "tiny.yaml")
    assert_refused(answer, "run `hermnet fit` first or give --checkpoint")
    assert not (tmp_path / "run").exists()
