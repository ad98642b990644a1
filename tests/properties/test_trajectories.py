from __future__ import annotations

from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk

from hermnet.errors import InputError
from hermnet.properties.trajectories import Trajectory


def write(path: Path, times: list[float | None], symbol: str = "Cu") -> Path:
    frames = []
    for time in times:
        atoms = bulk(symbol)
        atoms.info = {} if time is None else {"time": time}
        frames.append(atoms)
    ase.io.write(path, frames)
    return path


def test_times_come_from_the_frames_or_the_user(tmp_path: Path):
    path = write(tmp_path / "a.xyz", [0.0, 2.5, 5.0, 7.5])
    assert Trajectory.read(path).interval == 2.5
    assert Trajectory.read(path, skip=1).times.tolist() == [0.0, 2.5, 5.0]
    assert Trajectory.read(f"{path}@::2").interval == 5.0
    assert Trajectory.read(path, interval=7.0).times.tolist() == [0.0, 7.0, 14.0, 21.0]


def test_velocities_are_in_angstrom_per_femtosecond():
    atoms = Atoms("Cu", cell=[3] * 3, pbc=True)
    atoms.set_velocities([(0.01 / units.fs, 0, 0)])
    found = Trajectory((atoms, atoms), 1.0).velocities()
    np.testing.assert_allclose(found[:, 0], [(0.01, 0, 0)] * 2)
    with pytest.raises(InputError, match="has no velocities"):
        Trajectory((bulk("Cu"), bulk("Cu")), 1.0).velocities()


def test_what_is_no_trajectory(tmp_path: Path):
    with pytest.raises(InputError, match=r"does not say the time of each frame: give interval, in"):
        Trajectory.read(write(tmp_path / "a.xyz", [0.0, None]))
    with pytest.raises(InputError, match=r"times between frames are not equal \(from 1 to 2 fs\)"):
        Trajectory.read(write(tmp_path / "b.xyz", [0.0, 1.0, 3.0]))
    with pytest.raises(InputError, match="has 1 frames after the first 1; at least 2"):
        Trajectory.read(tmp_path / "a.xyz", interval=1.0, skip=1)
    ase.io.write(tmp_path / "c.xyz", [bulk("Cu"), bulk("Au")])
    with pytest.raises(InputError, match=r"c\.xyz: frame 1 has other atoms than the first one"):
        Trajectory.read(tmp_path / "c.xyz", interval=1.0)
    with pytest.raises(InputError, match="there is no file"):
        Trajectory.read(tmp_path / "nothing.xyz")
