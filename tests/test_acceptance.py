"""Physics acceptance finds drifts and jumps where there are some, and writes its page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.lj import LennardJones

from checkpoints import save_potential
from hermnet.calculator import HermNetCalculator
from hermnet.properties.dynamics import run_dynamics
from hermnet.properties.dynamics_log import COLUMNS
from hermnet.properties.settings import DynamicsSettings
from hermnet.recipes.config import resolve

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


def test_a_drift_is_found(tmp_path: Path):
    from acceptance_dynamics import _drift

    times = np.arange(0, 2000, 5.0)
    energies = 1e-5 * 9 * times / 1000 + 9e-6 * np.random.default_rng(0).normal(size=len(times))
    rows = [",".join(COLUMNS)]
    rows += [f"0,{t},300,0,0,{e},,,," for t, e in zip(times, energies, strict=True)]
    (tmp_path / "thermo.csv").write_text("\n".join(rows))
    found, (_, above) = _drift(tmp_path, 9)
    assert found["drift_eV_per_atom_per_ps"] == pytest.approx(1e-5, abs=4e-7)
    assert 1e-7 < found["error_of_drift"] < 1e-6
    assert found["fluctuation_eV_per_atom"] == pytest.approx(1e-6, rel=0.1)
    assert len(above) == len(times)


def test_the_error_of_a_drift_is_that_of_a_random_walk():
    from acceptance_dynamics import _slope

    generator, times = np.random.default_rng(0), np.arange(1000) / 100
    walks = [_slope(times, generator.normal(size=1000).cumsum()) for _ in range(200)]
    slopes, errors = (
        np.array([walk[name] for walk in walks])
        for name in ("drift_eV_per_atom_per_ps", "error_of_drift")
    )
    assert np.sqrt((errors**2).mean()) == pytest.approx(slopes.std(), rel=0.15)


def test_the_shadow_energy_hardly_fluctuates(tmp_path: Path):
    from acceptance_dynamics import _drift

    cluster = bulk("Ar", a=5.3, cubic=True) * (2, 1, 1)
    cluster.pbc = False
    cluster.rattle(0.1, seed=0)
    settings = DynamicsSettings("nve", temperature=20.0, timestep=10.0, steps=400, every=1)
    calculator = LennardJones(sigma=3.4, epsilon=0.0104, rc=100.0)
    run_dynamics(cluster, calculator, tmp_path / "md", settings)
    found, _ = _drift(tmp_path / "md", len(cluster))
    assert 0 < found["shadow_fluctuation_eV_per_atom"] < 0.05 * found["fluctuation_eV_per_atom"]
    assert found["shadow_error_of_drift"] < 0.1 * found["error_of_drift"]


def test_a_jump_at_the_cutoff_is_found(tmp_path: Path):
    from acceptance_dynamics import _crossing

    atoms = bulk("Cu", cubic=True) * (2, 2, 2)
    atoms.rattle(0.1, seed=0)
    path = save_potential(tmp_path / "best.ckpt", (29,), cutoff=3.2, dtype="float64")
    smooth = _crossing(atoms, 1, HermNetCalculator(path))
    assert smooth["forces_change_eV_per_A"] < 2 * smooth["forces_change_beside_eV_per_A"] + 1e-9
    cut = LennardJones(sigma=2.3, epsilon=0.1, rc=3.2)
    cut.cutoff = 3.2
    jumps = _crossing(atoms, 1, cut)
    assert jumps["at_shift_A"] == pytest.approx(smooth["at_shift_A"], abs=1e-9)
    assert jumps["forces_change_eV_per_A"] > 100 * jumps["forces_change_beside_eV_per_A"]


def test_a_simulation_that_was_shorter_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from acceptance_work import Work

    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(Work, "run", lambda self, *words, may_fail: asked.append(words))
    (tmp_path / "md").mkdir()
    (tmp_path / "md" / "state.npz").touch()
    (tmp_path / "md" / "md.json").write_text('{"time_fs": 10.0}')
    words = ("md", "start.xyz", "--timestep", 0.5, "--steps")
    assert Work(tmp_path, tmp_path, tmp_path).hermnet("md", *words, 20)
    assert Work(tmp_path, tmp_path, tmp_path, collects=True).hermnet("md", *words, 40)
    assert asked == []
    assert Work(tmp_path, tmp_path, tmp_path).hermnet("md", *words, 40)
    assert asked == [(*words, 40, "--output", "md", "--resume")]
    assert Work(tmp_path, tmp_path, tmp_path).hermnet("md", *words, 40, may_stop=True)
    assert len(asked) == 1, "where it stopped is its result"


def test_what_it_trains_are_recipes():
    from acceptance import fits

    for name, (config, *words) in fits(Path("data")).items():
        recipe = resolve(config, [f"name={name}", *words])
        assert recipe.name == name


def test_the_page_has_every_part():
    from acceptance import PARTS, RESULTS, fits
    from acceptance_page import page

    text = page(RESULTS, fits(Path("data")))
    assert text == (RESULTS.parent / "acceptance.md").read_text(encoding="utf-8")
    for name in PARTS:
        if (RESULTS / f"{name}.json").is_file():
            assert json.loads((RESULTS / f"{name}.json").read_text())["machine"]
    pictures = {p.name for p in RESULTS.glob("*.png")}
    assert {name for name in pictures if f"acceptance/{name}" in text} == pictures
