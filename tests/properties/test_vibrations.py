from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.lj import LennardJones

from hermnet.errors import InputError
from hermnet.properties.dynamics import run_dynamics
from hermnet.properties.settings import DynamicsSettings, VdosSettings
from hermnet.properties.trajectories import Trajectory
from hermnet.properties.vibrations import vibrational_density


def test_two_oscillators_have_two_peaks(tmp_path: Path):
    times, frames = np.arange(2000) * 1.0, []
    for time in times:
        atoms = Atoms("HHOO", positions=[(0, 0, 0), (1, 0, 0), (0, 3, 0), (0, 4, 0)])
        fast, slow = np.cos(2 * np.pi * 1e-3 * time * np.array([60.0, 12.0]))
        speeds = np.array([(fast, 0, 0), (-fast, 0, 0), (0, slow, 0), (0, -slow, 0)])
        atoms.set_velocities(0.01 * speeds)
        frames.append(atoms)
    found = vibrational_density(Trajectory(tuple(frames), 1.0))
    light, heavy, all_ = (found.densities[name] for name in ("H", "O", "all"))
    assert found.frequencies[light.argmax()] == pytest.approx(60, abs=0.3)
    assert found.frequencies[heavy.argmax()] == pytest.approx(12, abs=0.3)
    np.testing.assert_allclose(light + heavy, all_)
    assert np.trapezoid(all_, found.frequencies) == pytest.approx(1.0)
    weights = [np.trapezoid(part, found.frequencies) for part in (heavy, light)]
    assert weights[0] / weights[1] == pytest.approx(15.999 / 1.008, rel=1e-3)  # by their energy
    found.save(tmp_path / "vdos")
    assert {path.name for path in (tmp_path / "vdos").iterdir()} == set(found.files)
    rows = list(csv.DictReader((tmp_path / "vdos" / "vdos.csv").read_text().splitlines()))
    assert [float(row["H_per_THz"]) for row in rows] == light.tolist()


def test_one_atom_has_no_vibrations():
    atom = Atoms("Ar")
    atom.set_velocities([(1, 0, 0)])
    with pytest.raises(InputError, match="no atom moves besides the structure as a whole"):
        vibrational_density(Trajectory((atom, atom), 1.0))


def test_a_lennard_jones_pair_swings_as_its_curvature_says(tmp_path: Path):
    sigma, epsilon = 3.4, 0.0104
    nearest = 2 ** (1 / 6) * sigma
    pair = Atoms("Ar2", positions=[(0, 0, 0), (nearest, 0, 0)])
    pair.set_velocities([(1e-4, 0, 0), (-1e-4, 0, 0)])
    calculator = LennardJones(sigma=sigma, epsilon=epsilon, rc=100.0)
    settings = DynamicsSettings("nve", timestep=20.0, steps=1500, every=5, save_every=1500)
    run_dynamics(pair, calculator, tmp_path / "md", settings)
    trajectory = Trajectory.read(tmp_path / "md" / "trajectory.xyz")
    found = vibrational_density(trajectory, VdosSettings(width=0.02))
    curvature = 72 / 2 ** (1 / 3) * epsilon / sigma**2
    reduced = pair.get_masses()[0] / 2
    expected = np.sqrt(curvature / reduced) / (2 * np.pi) * units.fs * 1e3  # THz
    assert found.peak == pytest.approx(expected, rel=0.03)
    assert trajectory.interval == 100.0
