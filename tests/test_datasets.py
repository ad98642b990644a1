"""Planted faults: a check of the data names them, and is quiet on the same data without them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk

import tiny
from hermnet.config import resolve
from hermnet.datasets import check_data
from hermnet.errors import InputError

KCAL = units.mol / units.kcal  # kcal/mol of an eV


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


def every(label: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[list[Atoms]], None]:
    def plant(atoms_list: list[Atoms]) -> None:
        for atoms in atoms_list:
            atoms.calc.results[label] = change(np.asarray(atoms.calc.results[label]))

    return plant


def one_place(atoms_list: list[Atoms]) -> None:
    atoms_list[7].positions[3] = atoms_list[7].positions[0]


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
    ("plant", "message"),
    [
        pytest.param(every("forces", lambda f: -f), "energy against forces.*sign", id="sign"),
        pytest.param(
            every("energy", lambda e: e * KCAL), "energy against forces.*kcal/mol", id="kcal"
        ),
        pytest.param(every("stress", lambda s: -s), "stress.*sign", id="sign of the stress"),
        pytest.param(every("stress", lambda s: 10 * s), "stress.*kbar", id="kbar read as GPa"),
        pytest.param(
            every("stress", lambda s: s[[0, 1, 2, 5, 4, 3]]), "stress.*(yz|xy)", id="yz and xy"
        ),
        pytest.param(one_place, r"atoms 0 .* and 3 .* are 0 A apart", id="two atoms at one place"),
    ],
)
def test_a_planted_fault_is_named(
    tmp_path: Path, plant: Callable[[list[Atoms]], None], message: str
):
    with pytest.raises(InputError, match=message):
        check(tmp_path, plant)
