from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from hermnet.errors import InputError
from hermnet.properties.radial_distribution import radial_distribution
from hermnet.properties.settings import RdfSettings


def test_an_ideal_gas_is_one_everywhere():
    generator = np.random.default_rng(0)
    frames = [
        Atoms("Ar300", positions=12 * generator.random((300, 3)), cell=[12] * 3, pbc=True)
        for _ in range(5)
    ]
    found = radial_distribution(frames, RdfSettings(r_max=10, bins=20))  # beyond half the cell
    np.testing.assert_allclose(found.functions["all"][4:], 1.0, atol=0.03)
    assert found.functions["all"][4:].mean() == pytest.approx(1.0, abs=0.005)
    shell = 4 / 3 * np.pi * 10**3
    assert found.coordination["all"][-1] == pytest.approx(299 / 12**3 * shell, rel=0.02)


def test_shells_of_rocksalt():
    a = 5.64
    found = radial_distribution([bulk("NaCl", "rocksalt", a=a)] * 2, RdfSettings(r_max=5, bins=500))
    assert set(found.functions) == {"all", "Cl-Cl", "Cl-Na", "Na-Na"}
    assert found.peak("Cl-Na")[0] == pytest.approx(a / 2, abs=0.01)
    assert found.peak("Na-Na")[0] == pytest.approx(a / np.sqrt(2), abs=0.01)
    assert found.coordination["Cl-Na"][-1] == 6 + 8
    assert found.coordination["Na-Na"][-1] == 12
    assert found.coordination["Cl-Na"][found.distances < 4][-1] == 6
    assert found.coordination["all"][-1] == 6 + 8 + 12
    parts = 0.25 * (found.functions["Na-Na"] + found.functions["Cl-Cl"])
    np.testing.assert_allclose(parts + 0.5 * found.functions["Cl-Na"], found.functions["all"])


def test_what_is_written(tmp_path: Path):
    found = radial_distribution([bulk("NaCl", "rocksalt", a=5.64)], RdfSettings(bins=20))
    found.save(tmp_path / "rdf")
    assert {path.name for path in (tmp_path / "rdf").iterdir()} == set(found.files)
    rows = list(csv.DictReader((tmp_path / "rdf" / "rdf.csv").read_text().splitlines()))
    assert [float(row["g_Cl-Na"]) for row in rows] == found.functions["Cl-Na"].tolist()
    content = json.loads((tmp_path / "rdf" / "rdf.json").read_text())
    assert content["peaks"]["all"]["g"] == found.peak("all")[1]


def test_what_has_no_distribution():
    with pytest.raises(
        InputError, match="a radial distribution needs a structure that is periodic"
    ):
        radial_distribution([molecule("H2O")])
    with pytest.raises(InputError, match="no frame is left after the first 2"):
        radial_distribution([bulk("Cu")], RdfSettings(skip=2))
