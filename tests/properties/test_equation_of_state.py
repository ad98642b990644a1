from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from hermnet.errors import InputError
from hermnet.properties.elasticity import elastic_constants
from hermnet.properties.equation_of_state import equation_of_state
from hermnet.properties.relaxation import relax
from hermnet.properties.settings import EosSettings, RelaxSettings
from hermnet.properties.structures import GPA


def test_lennard_jones_argon_has_its_analytic_minimum():
    # lattice sums of fcc: A12 = 12.13188, A6 = 14.45392 (Kittel), so that
    # E = 2 eps (A12 (s/r)^12 - A6 (s/r)^6), r0 = 1.0902 s, B = 75.2 eps / s^3
    sigma, epsilon = 3.4, 0.0104
    argon = bulk("Ar", "fcc", a=5.24)
    calculator = LennardJones(sigma=sigma, epsilon=epsilon, rc=10 * sigma)
    found = equation_of_state(argon, calculator, EosSettings(span=0.03, points=7))
    assert found.volume == pytest.approx((1.0902 * sigma) ** 3 / np.sqrt(2), rel=2e-3)
    assert found.energy == pytest.approx(-8.610 * epsilon, rel=3e-3)  # cut off at 10 sigma
    assert found.bulk_modulus == pytest.approx(75.2 * epsilon / sigma**3 * GPA, rel=2e-2)


def test_the_bulk_modulus_is_that_of_the_elastic_tensor():
    copper = relax(bulk("Cu"), EMT(), RelaxSettings(cell=True, fmax=1e-5)).atoms
    fitted = equation_of_state(copper, EMT(), EosSettings(span=0.03))
    tensor = elastic_constants(copper, EMT())
    assert fitted.bulk_modulus == pytest.approx(tensor.averages.hill[0], rel=0.01)
    assert fitted.volume == pytest.approx(copper.get_volume(), rel=1e-3)


def test_positions_follow_the_volume():
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=0)
    stiff = equation_of_state(atoms, EMT(), EosSettings(points=5, relax=False))
    loose = equation_of_state(atoms, EMT(), EosSettings(points=5))
    assert (loose.energies < stiff.energies - 0.01).all()


def test_what_is_written(tmp_path: Path):
    found = equation_of_state(bulk("Cu"), EMT(), EosSettings(points=7))
    found.save(tmp_path / "eos")
    assert {path.name for path in (tmp_path / "eos").iterdir()} == set(found.files)
    rows = list(csv.DictReader((tmp_path / "eos" / "eos.csv").read_text().splitlines()))
    assert [float(row["energy_eV"]) for row in rows] == found.energies.tolist()
    content = json.loads((tmp_path / "eos" / "eos.json").read_text())
    assert content["bulk_modulus_GPa"] == found.bulk_modulus
    assert "bulk modulus" in "\n".join(found.lines())


def test_volumes_without_a_minimum():
    with pytest.raises(
        InputError, match=r"the smallest volume has the lowest energy: relax the ce"
    ):
        equation_of_state(bulk("Cu", a=4.2), EMT())


def test_a_molecule_has_no_equation_of_state():
    with pytest.raises(InputError, match="needs a structure that is periodic in three directions"):
        equation_of_state(molecule("H2O"), EMT())
