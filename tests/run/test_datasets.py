"""Checking the data of a recipe: the report is complete, whatever the data are like."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

import tiny
from hermnet.errors import InputErrors
from hermnet.recipes.config import resolve
from hermnet.run.datasets import check_data


def frames() -> list[Atoms]:
    """Rattled cells of Cu3Au and strained perfect ones, labelled by effective medium theory."""
    found = []
    rng = np.random.default_rng(0)
    for index in range(60):
        atoms = bulk("Cu", cubic=True, a=3.75) * (2, 2, 1)
        atoms.symbols[::4] = "Au"
        if index < 40:  # close to each other, in one cell
            atoms.rattle(0.02 + 0.002 * index, seed=index % 10)
        else:
            strain = rng.normal(scale=0.01, size=(3, 3))
            atoms.set_cell(atoms.cell @ (np.eye(3) + (strain + strain.T) / 2), scale_atoms=True)
            if index >= 50:
                atoms.rattle(0.08, seed=index)
        found.append(tiny.labelled(atoms, stress=True))
    return found


def one_place(atoms_list: list[Atoms]) -> None:
    atoms_list[7].positions[3] = atoms_list[7].positions[0]


def far_away(atoms_list: list[Atoms]) -> None:
    for index in (2, 7):
        atoms_list[index].positions[3, 1] = np.nan


def check(folder: Path, plant: Callable[[list[Atoms]], None] | None) -> None:
    structures = frames()
    if plant is not None:
        plant(structures)
    path = tiny.write(folder / "train.xyz", structures)
    recipe = resolve(
        "crystal",
        [f"data.train={path}", "data.n_val=0", "data.n_test=0", "model.cutoff=4"],
    )
    assert check_data(recipe, output=str(folder / "check.png")).stat().st_size > 20_000


def test_data_without_a_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    check(tmp_path, None)
    out = capsys.readouterr().out
    assert "no problem found" in out
    assert "train: 60 frames, 960 atoms" in out
    assert "OK              train, energy against forces" in out


@pytest.mark.parametrize(
    ("plant", "problems"),
    [
        pytest.param(
            one_place,
            ["train frame 7: atoms 0 (Au) and 3 (Cu) at one place"],
            id="two atoms at one place",
        ),
        pytest.param(
            far_away,
            [f"train frame {k}: the position of atom 3 is not a finite number" for k in (2, 7)],
            id="no position",
        ),
    ],
)
def test_frames_that_training_refuses_are_in_the_report(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    plant: Callable[[list[Atoms]], None],
    problems: list[str],
):
    with pytest.raises(InputErrors) as raised:
        check(tmp_path, plant)
    assert len(raised.value.messages) == len(problems)
    for message, problem in zip(raised.value.messages, problems, strict=True):
        assert message.startswith(problem)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "train: 60 frames, 960 atoms"
    assert [f"  {message}" for message in raised.value.messages] == lines[-len(problems) - 1 : -1]
    assert lines[-1] == f"plots: {tmp_path}/check.png"
    assert (tmp_path / "check.png").is_file()
