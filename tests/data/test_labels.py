"""Labels in the field's units, keys and conventions, and what is said when they are not there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase import units
from ase.build import bulk, molecule

from hermnet.data.frames import Frame
from hermnet.data.labels import Labelling
from hermnet.errors import InputError

STRESS = np.array([[1.1, 1.2, 1.3], [1.2, 2.2, 2.3], [1.3, 2.3, 3.3]])  # eV/A^3, ASE's sign


def frame(**values: Any) -> Frame:
    atoms = bulk("NaCl", "rocksalt", a=5.6)
    atoms.info |= values
    return Frame.from_atoms(atoms, "salt.xyz, frame 3")


def stress_of(values: Any, **options: Any) -> np.ndarray:
    graph = Labelling.parse(["stress"], **options).graph(frame(stress=np.asarray(values)))
    return graph.stress[0].numpy()


def test_units_of_the_field_become_the_models():
    given = frame(energy=2.0, forces=np.ones((2, 3)))
    graph = Labelling.parse(["energy", "forces"], units={"energy": "kcal/mol"}).graph(given)
    kcal = units.kcal / units.mol
    assert float(graph.energy) == pytest.approx(2.0 * kcal, rel=1e-6)
    assert graph.forces.numpy() == pytest.approx(kcal, rel=1e-6)
    options = {"length": "Bohr", "energy": "Hartree"}
    graph = Labelling.parse(["forces"], units=options).graph(given)
    assert graph.forces.numpy() == pytest.approx(units.Hartree / units.Bohr)
    assert graph.positions.numpy() == pytest.approx(given.positions * units.Bohr)
    assert graph.cell[0].numpy() == pytest.approx(given.cell * units.Bohr)


def test_a_stress_in_vasps_convention():
    order = "xx yy zz xy yz xz"
    kbar = -STRESS / units.GPa * 10
    six = [kbar[0, 0], kbar[1, 1], kbar[2, 2], kbar[0, 1], kbar[1, 2], kbar[0, 2]]
    stress = {"positive": "compression", "order": order}
    assert stress_of(six, units={"stress": "kbar"}, stress=stress) == pytest.approx(STRESS)


def test_a_virial_is_minus_the_volume_times_the_stress():
    volume = bulk("NaCl", "rocksalt", a=5.6).get_volume()
    assert stress_of(-volume * STRESS, stress={"kind": "virial"}) == pytest.approx(STRESS)
    given = {"kind": "virial", "positive": "tension"}
    in_hartree = volume * STRESS / units.Hartree
    found = stress_of(in_hartree.reshape(9), units={"energy": "Hartree"}, stress=given)
    assert found == pytest.approx(STRESS)


def test_a_stress_of_six_numbers_is_in_ases_order():
    six = [1.1, 2.2, 3.3, 2.3, 1.3, 1.2]
    assert stress_of(six) == pytest.approx(STRESS)


def test_a_missing_label_is_an_error_a_gap_or_a_mask():
    given = frame(energy=1.0, dft_forces=np.ones((2, 3)))
    wanted = ["energy", "forces"]
    with pytest.raises(
        InputError, match=r"salt.xyz, frame 3: no forces 'forces'; did you mean 'dft_forces'"
    ):
        Labelling.parse(wanted).graph(given)
    assert Labelling.parse(wanted, missing="skip").graph(given) is None
    masked = Labelling.parse(wanted, missing="mask").graph(given)
    assert masked.forces.isnan().all()
    assert masked.forces.shape == (2, 3)
    assert float(masked.energy) == 1.0


def test_a_label_of_nan_is_missing_only_where_that_is_allowed():
    given = frame(energy=np.nan)
    with pytest.raises(InputError, match="energy 'energy' has NaN or infinity"):
        Labelling.parse(["energy"]).graph(given)
    assert Labelling.parse(["energy"], missing="mask").graph(given).energy.isnan().all()
    half = frame(forces=np.array([[0.0, 1.0, 2.0], [np.nan, 0.0, 0.0]]))
    with pytest.raises(InputError, match="forces 'forces' has NaN or infinity"):
        Labelling.parse(["forces"], missing="mask").graph(half)


def test_a_molecule_has_no_stress():
    atoms = molecule("H2O")
    atoms.info["stress"] = STRESS
    with pytest.raises(InputError, match="h2o: a stress, but no cell with a volume"):
        Labelling.parse(["stress"]).graph(Frame.from_atoms(atoms, "h2o"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": ["energie"]}, "labels: unknown 'energie'; did you mean 'energy'"),
        ({"keys": {"force": "f"}}, "keys: unknown 'force'; did you mean 'forces'"),
        ({"units": {"energy": "kcal"}}, "units.energy: unknown unit 'kcal' of energy; did you"),
        ({"units": {"time": "fs"}}, "units: unknown 'time'"),
        ({"missing": "ignore"}, "missing: unknown 'ignore'"),
        ({"stress": {"sign": "-"}}, "stress: unknown option 'sign'"),
        ({"stress": {"kind": "virials"}}, "stress.kind: unknown 'virials'; did you mean 'virial'"),
        ({"stress": {"positive": "out"}}, "stress.positive: unknown 'out'"),
        (
            {"stress": {"order": "xx yy zz xy xz xy"}},
            "stress.order: 'xx yy zz xy xz xy' does not name each of xx yy zz yz xz xy once",
        ),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        Labelling.parse(**{"labels": ["energy"], **options})


def test_a_stress_that_is_not_symmetric():
    with pytest.raises(InputError, match="is not symmetric"):
        stress_of([[1, 2, 3], [0, 1, 0], [0, 0, 1]])
