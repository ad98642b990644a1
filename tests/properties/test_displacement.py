from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from hermnet.properties.displacement import mean_square_displacement
from hermnet.properties.settings import MsdSettings
from hermnet.properties.trajectories import Trajectory


def walk(n_frames: int, n_atoms: int, step: float, seed: int = 0) -> Trajectory:
    """A random walk of argon and krypton, whose steps are of the same size on average."""
    generator = np.random.default_rng(seed)
    moved = step * generator.standard_normal((n_frames, n_atoms, 3)).cumsum(axis=0)
    symbols = ["Ar", "Kr"] * (n_atoms // 2)
    frames = [Atoms(symbols, positions=p, cell=[9, 9, 9], pbc=True) for p in moved]
    return Trajectory(tuple(frames), 2.0)


def test_it_is_what_two_loops_give():
    trajectory = walk(12, 4, 0.3)
    found = mean_square_displacement(trajectory)
    masses = trajectory.frames[0].get_masses()
    at_rest = np.array(
        [atoms.positions - masses @ atoms.positions / masses.sum() for atoms in trajectory.frames]
    )
    for lag in range(7):
        pairs = [at_rest[t + lag] - at_rest[t] for t in range(12 - lag)]
        squares = np.mean([(pair**2).sum(axis=1) for pair in pairs], axis=0)
        assert found.squares["all"][lag] == pytest.approx(squares.mean(), abs=1e-12)
        assert found.squares["Kr"][lag] == pytest.approx(squares[1::2].mean(), abs=1e-12)
    np.testing.assert_array_equal(found.times, 2.0 * np.arange(7))


def test_a_random_walk_diffuses_as_einstein_says():
    found = mean_square_displacement(walk(400, 200, 0.1))
    expected = 0.1**2 / (2 * 2.0) * 0.1  # step^2 / (2 interval), A^2/fs to cm^2/s
    assert found.diffusion() == pytest.approx(expected, rel=0.1)


def test_wrapping_changes_nothing():
    trajectory = walk(30, 6, 0.5)
    wrapped = []
    for atoms in trajectory.frames:
        copy = atoms.copy()
        copy.wrap()
        wrapped.append(copy)
    one = mean_square_displacement(trajectory)
    other = mean_square_displacement(Trajectory(tuple(wrapped), 2.0))
    np.testing.assert_allclose(other.squares["all"], one.squares["all"], atol=1e-9)


def test_a_cell_that_breathes_does_not_count():
    frames = []
    for scale in (1.0, 1.1, 0.9, 1.0):
        atoms = Atoms("Ar2", scaled_positions=[(0, 0, 0), (0.5, 0.5, 0.5)], cell=[9 * scale] * 3)
        atoms.pbc = True
        frames.append(atoms)
    found = mean_square_displacement(Trajectory(tuple(frames), 1.0))
    np.testing.assert_allclose(found.squares["all"], 0.0, atol=1e-20)


def test_what_is_written(tmp_path: Path):
    found = mean_square_displacement(walk(20, 4, 0.3), MsdSettings(start=0, end=1))
    found.save(tmp_path / "msd")
    assert {path.name for path in (tmp_path / "msd").iterdir()} == set(found.files)
    rows = list(csv.DictReader((tmp_path / "msd" / "msd.csv").read_text().splitlines()))
    assert [float(row["Ar_A2"]) for row in rows] == found.squares["Ar"].tolist()
    content = json.loads((tmp_path / "msd" / "msd.json").read_text())
    assert content["diffusion_cm2_per_s"]["Kr"] == found.diffusion("Kr")
