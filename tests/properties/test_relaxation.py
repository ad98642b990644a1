from __future__ import annotations

import csv
import json
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.constraints import FixAtoms

import structures
from checkpoints import save_potential
from hermnet.calculator import HermNetCalculator
from hermnet.errors import InputError
from hermnet.properties.relaxation import relax, relax_positions
from hermnet.properties.settings import RelaxSettings
from hermnet.properties.structures import GPA, with_calculator


@pytest.mark.parametrize("optimizer", ["fire", "bfgs", "lbfgs"])
def test_a_lennard_jones_pair_ends_at_its_minimum(optimizer: str):
    pair = Atoms("Ar2", positions=[(0, 0, 0), (3.9, 0, 0)])
    calculator = LennardJones(sigma=3.4, epsilon=0.01, rc=30.0)
    found = relax(pair, calculator, RelaxSettings(fmax=1e-6, optimizer=optimizer))
    assert found.converged
    assert found.atoms.get_distance(0, 1) == pytest.approx(2 ** (1 / 6) * 3.4, abs=1e-4)
    assert found.atoms.get_potential_energy() == pytest.approx(-0.01, rel=1e-3)
    assert pair.get_distance(0, 1) == 3.9
    assert pair.calc is None


def test_energy_falls_and_forces_vanish(tmp_path: Path):
    atoms = structures.crystal(stdev=0.02)
    calculator = HermNetCalculator(save_potential(tmp_path / "a.ckpt", (8, 22, 56)))
    found = relax(atoms, calculator, RelaxSettings(fmax=1e-3, optimizer="bfgs"))
    energies = [frame.get_potential_energy() for frame in found.frames]
    assert found.converged
    assert energies[-1] < energies[0]
    assert np.linalg.norm(found.atoms.get_forces(), axis=1).max() < 1e-3
    again = with_calculator(found.atoms, calculator)
    assert again.get_potential_energy() == pytest.approx(energies[-1], abs=1e-9)


@pytest.mark.parametrize("pressure", [0.0, 10.0])
def test_a_cell_relaxes_to_the_pressure(pressure: float):
    copper = bulk("Cu", cubic=True, a=3.7)
    copper.rattle(0.02, seed=0)
    copper.set_cell(copper.cell @ (np.eye(3) + 0.02 * np.eye(3, k=1)), scale_atoms=True)
    settings = RelaxSettings(cell=True, pressure=pressure, fmax=1e-4, optimizer="bfgs")
    found = relax(copper, EMT(), settings)
    assert found.converged
    stress = found.atoms.get_stress() * GPA
    np.testing.assert_allclose(stress, [-pressure] * 3 + [0] * 3, atol=1e-3)
    if not pressure:  # ASE's own EMT copper
        assert found.atoms.get_volume() == pytest.approx(3.5898**3, rel=1e-3)


def test_only_periodic_directions_of_a_cell_relax():
    slab = bulk("Cu", cubic=True, a=3.7) * (1, 1, 2)
    slab.pbc = (True, True, False)
    slab.cell[2, 2] = 20.0
    found = relax(slab, EMT(), RelaxSettings(cell=True, fmax=0.01, optimizer="bfgs"))
    assert found.atoms.cell[2] == pytest.approx([0, 0, 20.0])
    assert found.atoms.cell[0, 0] < 3.65


def test_fixed_atoms_stay():
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=0)
    atoms.set_constraint(FixAtoms([0]))
    found = relax(atoms, EMT())
    np.testing.assert_array_equal(found.atoms.positions[0], atoms.positions[0])
    assert np.abs(found.atoms.positions[1:] - atoms.positions[1:]).max() > 0.01
    assert len(found.atoms.constraints) == 1


def test_the_space_group_can_be_kept():
    spglib = pytest.importorskip("spglib")
    atoms = bulk("Cu", "hcp", a=2.6, c=4.0)
    found = relax(atoms, EMT(), RelaxSettings(cell=True, symmetry=True, fmax=1e-3)).atoms
    cell = (found.cell.array, found.get_scaled_positions(), found.numbers)
    assert spglib.get_spacegroup(cell, symprec=1e-6) == "P6_3/mmc (194)"
    assert not found.constraints


def test_what_is_written(tmp_path: Path):
    found = relax(bulk("Cu", a=3.7), EMT(), RelaxSettings(cell=True))
    found.save(tmp_path / "relax")
    assert {path.name for path in (tmp_path / "relax").iterdir()} == set(found.files)
    relaxed = ase.io.read(tmp_path / "relax" / "relaxed.xyz")
    assert relaxed.get_potential_energy() == found.atoms.get_potential_energy()
    assert len(ase.io.read(tmp_path / "relax" / "path.xyz", index=":")) == len(found.frames)
    rows = list(csv.DictReader((tmp_path / "relax" / "relaxation.csv").read_text().splitlines()))
    assert [int(row["step"]) for row in rows] == list(range(found.steps + 1))
    content = json.loads((tmp_path / "relax" / "relaxation.json").read_text())
    assert content["converged"] is True
    assert float(rows[-1]["energy_eV"]) == content["energy_eV"]
    assert found.lines()[0].startswith("converged after")


def test_too_few_steps_are_said():
    found = relax(bulk("Cu", a=3.7), EMT(), RelaxSettings(cell=True, steps=2, fmax=1e-6))
    assert not found.converged
    assert found.lines()[0].startswith("NOT converged after 2 steps")
    rattled = bulk("Cu", cubic=True)
    rattled.rattle(0.1, seed=0)
    rattled.calc = EMT()
    with pytest.raises(InputError, match=r"do not relax to 1e-09 eV/A within 3 steps, a force of"):
        relax_positions(rattled, 1e-9, steps=3)


def test_a_molecule_has_no_cell_to_relax():
    with pytest.raises(InputError, match="without periodic directions has no cell to relax"):
        relax(molecule("H2O"), EMT(), RelaxSettings(cell=True))
