from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.optimize import BFGS

from hermnet.errors import InputError
from hermnet.properties.elasticity import elastic_constants
from hermnet.properties.relaxation import relax
from hermnet.properties.settings import ElasticSettings, RelaxSettings
from hermnet.properties.structures import GPA

VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


@pytest.fixture(scope="module")
def copper() -> Atoms:
    return relax(bulk("Cu"), EMT(), RelaxSettings(cell=True, fmax=1e-6)).atoms


def energy(atoms: Atoms, strain: np.ndarray, *, follow: bool = False) -> float:
    """Of a strained EMT structure, positions relaxed or not."""
    strained = atoms.copy()
    strained.calc = EMT()
    strained.set_cell(atoms.cell @ (np.eye(3) + strain), scale_atoms=True)
    if follow:
        BFGS(strained, logfile=None).run(fmax=1e-4)
    return strained.get_potential_energy()


def strain_of(*components: int, size: float) -> np.ndarray:
    strain = np.zeros((3, 3))
    for component in components:
        a, b = VOIGT[component]
        strain[a, b] += size / 2
        strain[b, a] += size / 2
    return strain


def curvature(atoms: Atoms, *components: int, follow: bool = False) -> float:
    """Second derivative of the energy density along strains, GPa; independent of all stresses."""
    h = 0.004
    values = [energy(atoms, strain_of(*components, size=x), follow=follow) for x in (-h, 0.0, h)]
    return (values[0] - 2 * values[1] + values[2]) / h**2 / atoms.get_volume() * GPA


def test_copper_agrees_with_differences_of_energies(copper: Atoms):
    found = elastic_constants(copper, EMT())
    c11, c44 = curvature(copper, 0), curvature(copper, 3)
    c12 = (curvature(copper, 0, 1) - c11 - curvature(copper, 1)) / 2
    expected = np.zeros((6, 6))
    expected[:3, :3] = c12
    np.fill_diagonal(expected, [c11] * 3 + [c44] * 3)
    np.testing.assert_allclose(found.tensor, expected, rtol=0.01, atol=0.2)
    assert found.asymmetry < 0.1
    assert found.stable
    # cubic averages: B = (C11 + 2 C12) / 3, G_V = (C11 - C12 + 3 C44) / 5,
    # G_R = 5 (C11 - C12) C44 / (4 C44 + 3 (C11 - C12))
    c11, c12, c44 = found.tensor[0, 0], found.tensor[0, 1], found.tensor[3, 3]
    means = found.averages
    np.testing.assert_allclose(means.bulk, (c11 + 2 * c12) / 3, rtol=1e-4)
    assert means.shear[0] == pytest.approx((c11 - c12 + 3 * c44) / 5, rel=1e-3)
    reuss = 5 * (c11 - c12) * c44 / (4 * c44 + 3 * (c11 - c12))
    assert means.shear[1] == pytest.approx(reuss, rel=1e-3)


def test_positions_follow_the_strain():
    hexagonal = bulk("Cu", "hcp", a=2.54, c=4.15)
    hexagonal = relax(hexagonal, EMT(), RelaxSettings(cell=True, fmax=1e-6)).atoms
    loose = elastic_constants(hexagonal, EMT(), ElasticSettings(fmax=1e-5)).tensor
    stiff = elastic_constants(hexagonal, EMT(), ElasticSettings(relax=False)).tensor
    assert stiff[0, 0] > loose[0, 0] + 1
    assert loose[0, 0] == pytest.approx(curvature(hexagonal, 0, follow=True), rel=0.02)
    assert stiff[0, 0] == pytest.approx(curvature(hexagonal, 0), rel=0.02)
    assert loose[5, 5] == pytest.approx((loose[0, 0] - loose[0, 1]) / 2, rel=1e-3)  # hexagonal


def test_pair_potentials_keep_cauchys_relation():
    calculator = LennardJones(sigma=3.4, epsilon=0.0104, rc=13.6, smooth=True)
    argon = relax(bulk("Ar", a=5.25), calculator, RelaxSettings(cell=True, fmax=1e-6)).atoms
    tensor = elastic_constants(argon, calculator, ElasticSettings(strain=0.001)).tensor
    assert tensor[0, 1] == pytest.approx(tensor[3, 3], rel=1e-3)


def test_what_is_written(copper: Atoms, tmp_path: Path):
    found = elastic_constants(copper, EMT())
    found.save(tmp_path / "elastic")
    assert {path.name for path in (tmp_path / "elastic").iterdir()} == set(found.files)
    rows = list(csv.reader((tmp_path / "elastic" / "elastic.csv").read_text().splitlines()))
    assert rows[0] == ["GPa", "xx", "yy", "zz", "yz", "xz", "xy"]
    np.testing.assert_array_equal(np.array([row[1:] for row in rows[1:]], float), found.tensor)
    content = json.loads((tmp_path / "elastic" / "elastic.json").read_text())
    assert content["bulk_modulus_hill_GPa"] == found.averages.hill[0]
    assert not any("stress of" in line for line in found.lines())


def test_an_unstable_crystal_has_no_averages(tmp_path: Path):
    cubic = Atoms("Cu", cell=np.eye(3) * 2.4, pbc=True)  # simple cubic copper
    found = elastic_constants(cubic, EMT())
    assert not found.stable
    assert any("NOT stable" in line for line in found.lines())
    found.save(tmp_path / "elastic")
    assert "bulk_modulus_hill_GPa" not in (tmp_path / "elastic" / "elastic.json").read_text()


def test_a_stress_at_the_start_is_said():
    found = elastic_constants(bulk("Cu", a=3.65), EMT())
    assert found.lines()[-1].startswith("note: the structure was under a stress of")


def test_a_slab_has_no_elastic_constants():
    slab = bulk("Cu")
    slab.pbc = (True, True, False)
    with pytest.raises(InputError, match="an elastic tensor needs a structure that is periodic"):
        elastic_constants(slab, EMT())
