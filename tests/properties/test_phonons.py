from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import ase.phonons
import numpy as np
import pytest
from ase import units
from ase.build import bulk, molecule
from ase.calculators.emt import EMT

from checkpoints import save_potential
from hermnet.calculator import HermNetCalculator
from hermnet.errors import InputError
from hermnet.properties.phonons import phonons, proposed_supercell
from hermnet.properties.settings import PhononSettings

A = 3.59  # A, of EMT copper
THZ = 1e-12 * units._e / (2 * np.pi * units._hbar)  # of an energy of 1 eV


def test_copper_has_the_bands_that_ase_finds(tmp_path: Path):
    pytest.importorskip("phonopy")
    found = phonons(bulk("Cu", a=A), EMT(), PhononSettings(supercell=(4, 4, 4)))
    other = ase.phonons.Phonons(bulk("Cu", a=A), EMT(), (4, 4, 4), name=str(tmp_path / "ase"))
    other.run()
    other.read(acoustic=True)
    places = [found.distances.tolist().index(q) for q, name in found.corners if name in "XL"]
    points = {"X": (0.5, 0.5, 0.0), "L": (0.5, 0.5, 0.5)}
    names = [name for _, name in found.corners if name in "XL"]
    for place, name in zip(places, names, strict=True):
        expected = np.sort(other.band_structure([points[name]])[0]) * THZ
        np.testing.assert_allclose(found.bands[place], expected, rtol=5e-3)
    assert found.stable
    assert found.n_displacements == 1


def test_a_conventional_cell_is_made_primitive(tmp_path: Path):
    pytest.importorskip("phonopy")
    found = phonons(bulk("Cu", cubic=True, a=A), EMT(), PhononSettings(supercell=(2, 2, 2)))
    assert found.bands.shape[1] == 3
    step = found.frequencies[1] - found.frequencies[0]
    assert found.density.sum() * step == pytest.approx(3.0, rel=0.01)  # states of one atom
    assert found.bands[0] == pytest.approx(0.0, abs=1e-3)
    found.save(tmp_path / "phonons")
    assert {path.name for path in (tmp_path / "phonons").iterdir()} == set(found.files)
    content = json.loads((tmp_path / "phonons" / "phonons.json").read_text())
    assert content["path"][0] == {"q_per_A": 0.0, "name": "G"}
    rows = list(csv.reader((tmp_path / "phonons" / "bands.csv").read_text().splitlines()))
    np.testing.assert_allclose(np.array(rows[1:], float)[:, 1:], found.bands)


def test_an_unstable_crystal_is_called_so():
    pytest.importorskip("phonopy")
    found = phonons(bulk("Cu", "sc", a=2.4), EMT(), PhononSettings(supercell=(2, 2, 2)))
    assert not found.stable
    assert "NOT stable: some frequencies are imaginary (negative)" in found.lines()


def test_a_supercell_of_twelve_angstrom_is_proposed():
    assert proposed_supercell(bulk("Cu", cubic=True, a=A) * (1, 2, 4)) == (4, 2, 1)


def test_forces_that_do_not_follow_the_displacement_are_noted(tmp_path: Path):
    pytest.importorskip("phonopy")
    settings = PhononSettings(supercell=(2, 2, 2), mesh=(3, 3, 3))
    smooth = phonons(bulk("Cu", a=A), EMT(), settings)
    assert smooth.kink < 0.01
    assert not any("kink" in line for line in smooth.lines())
    sharp = {"name": "painn", "epsilon": 1e-8}  # sees the length of vectors
    painn = save_potential(tmp_path / "a.ckpt", (29,), n_channels=8, subnet=sharp)
    kinked = phonons(bulk("Cu", a=A), HermNetCalculator(painn), settings)
    assert any("potential bends sharply there" in line for line in kinked.lines())


@pytest.mark.parametrize("name", ["painn", "rmconv"])
def test_epsilon_makes_sites_of_high_symmetry_smooth(name: str, tmp_path: Path):
    sizes = (0.0025, 0.005, 0.01)  # A

    def force_constants(subnet: object) -> np.ndarray:
        path = save_potential(tmp_path / "a.ckpt", (29,), n_channels=8, subnet=subnet)
        calculator = HermNetCalculator(path)
        forces = []
        for size in sizes:
            atoms = bulk("Cu", cubic=True, a=A)
            atoms.positions[0, 0] += size
            atoms.calc = calculator
            forces.append(-atoms.get_forces()[0, 0] / size)
        return np.array(forces)

    kinked, smooth = force_constants({"name": name, "epsilon": 1e-8}), force_constants(name)
    assert np.ptp(smooth) < 0.01 * abs(smooth[0])
    assert np.ptp(kinked) > 0.1 * abs(kinked[0])


def test_a_molecule_has_no_phonons():
    with pytest.raises(InputError, match="a phonon calculation needs a structure that is periodic"):
        phonons(molecule("H2O"), EMT())


def test_without_phonopy_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "phonopy", None)
    with pytest.raises(InputError, match=r'phonons need phonopy: pip install "hermnet\[phonons\]"'):
        phonons(bulk("Cu"), EMT())
