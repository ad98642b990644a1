"""The commands from beginning to end, and checkpoints and frames that they refuse."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
import torch
from ase.build import molecule as ase_molecule

import tiny
from answers import assert_refused, contents, hermnet
from hermnet.checkpoints.checkpoint import load_potential, read_checkpoint
from hermnet.neighbors import graph_from_atoms

pytestmark = pytest.mark.filterwarnings("ignore:relations with few training edges")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Iterator[Path]:
    """A folder with tiny.yaml, in which the program runs."""
    folder, before = tmp_path_factory.mktemp("workplace"), Path.cwd()
    tiny.recipe_file(folder, data)
    os.chdir(folder)
    yield folder
    os.chdir(before)


@pytest.fixture(scope="module")
def story(workplace: Path) -> dict[str, Any]:
    """fit, validate, test, fit --resume, predict, and what each of them left."""
    found: dict[str, Any] = {}
    config = ("--config", "tiny.yaml")
    found["fit"] = hermnet("fit", *config)
    found["after fit"] = contents(workplace / "run")
    found["epoch after fit"] = read_checkpoint(workplace / "run/checkpoints/last.ckpt").epoch
    found["validate"] = hermnet("validate", *config)
    found["test"] = hermnet("test", *config)
    found["after test"] = contents(workplace / "run")
    found["resume"] = hermnet("fit", *config, "--resume", "trainer.max_epochs=4")
    found["predict"] = hermnet("predict", *config)
    return found


def test_a_fit_says_what_it_does(story: dict[str, Any]):
    answer = story["fit"]
    assert answer.code == 0
    assert answer.err == ""
    lines = answer.out.splitlines()
    recipe = lines[lines.index("name: tiny") :]
    assert "  relations: vertex" in recipe
    assert "  ema_decay: 0.99" in recipe, "defaults are written out"
    assert [line.split()[1] for line in lines if line.startswith("│ t") or "│ val" in line] == [
        "train",
        "val",
        "test",
    ]
    assert "forces RMSE" in answer.out
    assert "meV/A" in answer.out
    assert lines[-2].startswith("plots: ")
    assert lines[-2].endswith("run/errors_by_element.png")
    assert lines[-1].endswith("run/checkpoints/best.ckpt")


def test_nobody_advertises_anything(story: dict[str, Any]):
    printed = "".join(answer.out + answer.err for answer in map(story.get, ("fit", "resume")))
    for word in ("litlogger", "GPU", "TPU", "Tip", "Lightning", "Restoring", "v_num", "stopped"):
        assert word not in printed


def test_validating_and_testing_give_the_numbers_of_the_fit(story: dict[str, Any]):
    table = {
        line.split()[1]: line for line in story["fit"].out.splitlines() if line.startswith("│")
    }
    for command, split in (("validate", "val"), ("test", "test")):
        assert story[command].code == 0
        (row,) = [line for line in story[command].out.splitlines() if f"│ {split}" in line]
        cells = [cell.strip() for cell in row.split("│")]
        assert cells == [cell.strip() for cell in table[split].split("│")]
    assert story["after test"] == story["after fit"], "looking changes nothing"


def test_a_resumed_fit_goes_on(story: dict[str, Any], workplace: Path, data: Path):
    assert story["resume"].code == 0
    assert story["epoch after fit"] == 1
    folder = workplace / "run"
    content = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    assert (content["epoch"], content["global_step"]) == (3, 12)
    averaging = content["averaging_state"]
    assert averaging["n_averaged"].item() == 12, "the average goes on too"
    assert {p.name for p in folder.glob("csv_*")} == {"csv_0", "csv_1"}
    assert (folder / "csv_0/metrics.csv").read_bytes() == story["after fit"]["csv_0/metrics.csv"]
    tiny.recipe_file(workplace / "whole", data)
    assert hermnet("fit", "--config", "whole/tiny.yaml", "trainer.max_epochs=4").code == 0
    whole = torch.load(workplace / "whole/run/checkpoints/last.ckpt", weights_only=True)
    for key in ("state_dict", "current_model_state"):
        for name, value in whole[key].items():
            assert torch.equal(content[key][name], value), f"{key}: {name}"


def test_predictions_are_those_of_the_best_checkpoint(
    story: dict[str, Any], workplace: Path, data: Path
):
    assert story["predict"].code == 0
    assert story["predict"].out.startswith("2 frames with energies and forces (eV, eV/A) in ")
    potential = load_potential(workplace / "run/checkpoints/best.ckpt")
    found = ase.io.read(workplace / "run/predictions.xyz", ":")
    for atoms, given in zip(found, ase.io.read(data / "test.xyz", ":"), strict=True):
        expected = potential(graph_from_atoms(given, 3.0))
        assert np.array_equal(atoms.numbers, given.numbers)
        assert atoms.get_potential_energy() == pytest.approx(expected.energy.item(), abs=1e-6)
        np.testing.assert_allclose(atoms.get_forces(), expected.forces.detach(), atol=1e-5)


def test_predictions_elsewhere(story: dict[str, Any], workplace: Path):
    best = str(workplace / "run/checkpoints/best.ckpt")
    argv = ("predict", "--config", "tiny.yaml", "--checkpoint", best)
    answer = hermnet(*argv, "--output", "elsewhere/out.xyz")
    assert answer.code == 0
    assert len(ase.io.read(workplace / "elsewhere/out.xyz", ":")) == 2
    assert_refused(
        hermnet(*argv, "--output", "elsewhere"), "cannot write elsewhere: it is a folder"
    )


def test_an_existing_run_is_not_touched(story: dict[str, Any], workplace: Path):
    before = contents(workplace / "run")
    answer = hermnet("fit", "--config", "tiny.yaml")
    assert_refused(
        answer, "holds a run already: continue it with --resume, replace it with --overw"
    )
    assert answer.out == ""
    both = hermnet("fit", "--config", "tiny.yaml", "--resume", "--overwrite")
    assert_refused(both, "give --resume or --overwrite, not both")
    assert contents(workplace / "run") == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["model.n_channels=8"], "was trained with other options: model.n_channels=4; resume with"),
        (["model.relations=pair"], "was trained with other options: model.relations=vertex;"),
        (
            ["training.optimizer={class_path: torch.optim.SGD, lr: 0.1}"],
            "was trained with other options: training.optimizer.class_path;",
        ),
        (["trainer.max_epochs=1"], "has 4 epochs already, more than trainer.max_epochs=1"),
    ],
    ids=["size", "relations", "optimizer", "epochs"],
)
def test_a_run_is_not_resumed_with_something_else(
    story: dict[str, Any], workplace: Path, options: list[str], message: str
):
    before = contents(workplace / "run")
    assert_refused(hermnet("fit", "--config", "tiny.yaml", "--resume", *options), message)
    assert contents(workplace / "run") == before


def test_an_old_run_survives_what_is_wrong_with_the_new(story: dict[str, Any], workplace: Path):
    before = contents(workplace / "run")
    for wrong in ("data.val=nowhere.xyz", "trainer.accelerator=abacus", "data.labels=[energy]"):
        answer = hermnet("fit", "--config", "tiny.yaml", "--overwrite", wrong)
        assert answer.code == 2
        assert len(answer.err.splitlines()) == 1
    assert contents(workplace / "run") == before


def test_overwriting(story: dict[str, Any], workplace: Path, data: Path):
    tiny.recipe_file(workplace / "again", data)
    config = ("--config", "again/tiny.yaml", "trainer.max_epochs=1", "trainer.logger=false")
    assert hermnet("fit", *config).code == 0
    first = (workplace / "again/run/recipe.yaml").read_text()
    (workplace / "again/run/notes.txt").write_text("mine")
    answer = hermnet("fit", *config, "--overwrite", "model.n_channels=6")
    assert answer.code == 0
    assert (workplace / "again/run/recipe.yaml").read_text() != first
    assert (workplace / "again/run/notes.txt").read_text() == "mine"
    assert load_potential(workplace / "again/run/checkpoints/best.ckpt").options.n_channels == 6


@pytest.mark.slow
def test_as_a_program(data: Path, tmp_path: Path):
    tiny.recipe_file(tmp_path, data)
    argv = ["fit", "--config", "tiny.yaml", "trainer.enable_progress_bar=true"]
    done = subprocess.run(
        [sys.executable, "-m", "hermnet.cli", *argv],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "warning: relations with few training edges: C (40), O (40)\n"
    told = [line for line in done.stdout.splitlines() if line.startswith("epoch ")]
    assert [line.partition(" | ")[0] for line in told] == ["epoch 1/2", "epoch 2/2"]
    assert all(" | val MAE forces " in line for line in told)
    errors = json.loads((tmp_path / "run/results.json").read_text())
    assert set(errors) == {"train", "val", "test"}


def save(path: Path, whatever: Any) -> None:
    torch.save(whatever, path)


class Burglar:
    """Would make a folder when unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("loot",)


CHECKPOINTS: dict[str, tuple[Callable[[dict[str, Any], Path], None], str]] = {
    "truncated": (
        lambda content, path: (save(path, content), path.write_bytes(path.read_bytes()[:999])),
        "a.ckpt is truncated, damaged or no checkpoint at all",
    ),
    "text": (lambda _, path: path.write_text("hello"), "no checkpoint at all"),
    "foreign": (
        lambda content, path: save(path, content["state_dict"]),
        "is no checkpoint of Herm",
    ),
    "code": (
        lambda content, path: save(path, content | {"extra": Burglar()}),
        "a.ckpt would run code: it names",
    ),
    "newer": (
        lambda content, path: save(path, content | {"hermnet": {"format": 9}}),
        "a.ckpt has checkpoint format 9, this HermNet reads 1 to",
    ),
    "weights": (
        lambda content, path: save(path, content | {"state_dict": {}}),
        "a.ckpt: the weights do not fit the recipe in it",
    ),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
@pytest.mark.parametrize("command", ["test", "predict"])
def test_a_checkpoint_that_cannot_be_used(
    story: dict[str, Any], workplace: Path, command: str, name: str
):
    spoil, message = CHECKPOINTS[name]
    content = torch.load(workplace / "run/checkpoints/best.ckpt", weights_only=True)
    spoil(content, workplace / "a.ckpt")
    before = contents(workplace / "run")
    answer = hermnet(command, "--config", "tiny.yaml", "--checkpoint", "a.ckpt")
    assert_refused(answer, message)
    assert not (workplace / "loot").exists()
    assert contents(workplace / "run") == before


def test_frames_with_an_element_that_the_potential_does_not_know(
    story: dict[str, Any], workplace: Path, data: Path
):
    tiny.write(workplace / "ammonia.xyz", [tiny.labelled(ase_molecule("NH3"))])
    before = contents(workplace / "run")
    for command in ("test", "predict"):
        answer = hermnet(command, "--config", "tiny.yaml", "data.test=ammonia.xyz")
        assert_refused(answer, "the test frames have N, which no training frame has")
    assert contents(workplace / "run") == before
