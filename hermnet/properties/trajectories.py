"""Trajectories to analyse: frames of the same atoms, with times and unwrapped positions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from hermnet.errors import InputError
from hermnet.properties.structures import read_frames

Array = NDArray[np.float64]
_SAME_TIME = 1e-3  # relative


@dataclass(frozen=True)
class Trajectory:
    """Frames at equal distances in time.

    Attributes:
        frames: at least two, of the same atoms.
        interval: between frames, in fs.
    """

    frames: tuple[Atoms, ...]
    interval: float

    @classmethod
    def read(cls, path: str | Path, interval: float | None = None, skip: int = 0) -> Trajectory:
        """From a file of any format that ASE reads.

        Args:
            path: the file.
            interval: between frames in fs; by default from what the frames call ``time``.
            skip: frames at the start that are left out.

        Raises:
            InputError: for frames of different atoms, too few of them, or unknown times.
        """
        frames = same_atoms(read_frames(path)[skip:], path)
        if len(frames) < 2:
            raise InputError(f"{path} has {len(frames)} frames after the first {skip}; at least 2")
        return cls(tuple(frames), interval or _interval(frames, path))

    @property
    def times(self) -> Array:
        """Since the first frame, in fs, (n_frames,)."""
        times: Array = np.arange(len(self.frames), dtype=np.float64) * self.interval
        return times

    @property
    def symbols(self) -> list[str]:
        """Of the elements, sorted."""
        return sorted(set(self.frames[0].symbols))

    def mask(self, symbol: str) -> NDArray[np.bool_]:
        """Which atoms are of an element, (n_atoms,)."""
        return np.array(self.frames[0].symbols == symbol)

    def unwrapped(self) -> Array:
        """Positions (n_frames, n_atoms, 3) in A without jumps through the cell, at rest as a whole.

        An atom that seems to move by more than half a lattice vector between frames was wrapped;
        what the cell itself does to positions does not count.
        """
        positions = np.empty((len(self.frames), len(self.frames[0]), 3))
        positions[0] = self.frames[0].positions
        for k in range(1, len(self.frames)):
            before, after = self.frames[k - 1], self.frames[k]
            cell, old = (np.array(atoms.cell.complete()) for atoms in (after, before))
            moved = after.positions @ np.linalg.inv(cell) - before.positions @ np.linalg.inv(old)
            jumps = np.where(after.pbc, np.rint(moved), 0.0)
            positions[k] = positions[k - 1] + (moved - jumps) @ cell
        masses = self.frames[0].get_masses()
        centers = np.einsum("tij,i->tj", positions, masses) / masses.sum()
        result: Array = positions - centers[:, None] + centers[0]
        return result

    def velocities(self) -> Array:
        """Of every frame, (n_frames, n_atoms, 3) in A/fs.

        Raises:
            InputError: if frames have none.
        """
        from ase import units

        if not all(atoms.has("momenta") for atoms in self.frames):
            raise InputError("the trajectory has no velocities (momenta), which vdos needs")
        found: Array = np.array([atoms.get_velocities() * units.fs for atoms in self.frames])
        return found


def same_atoms(frames: Sequence[Atoms], path: str | Path) -> list[Atoms]:
    """The frames, if they are of the same atoms.

    Raises:
        InputError: which names the frame that differs.
    """
    for number, atoms in enumerate(frames):
        if not np.array_equal(atoms.numbers, frames[0].numbers):
            raise InputError(f"{path}: frame {number} has other atoms than the first one")
    return list(frames)


def _interval(frames: Sequence[Atoms], path: str | Path) -> float:
    times: Any = [atoms.info.get("time") for atoms in frames]
    if any(not isinstance(time, int | float | np.number) for time in times):
        raise InputError(f"{path} does not say the time of each frame: give interval, in fs")
    steps = np.diff(np.array(times, dtype=float))
    if steps[0] <= 0 or np.abs(steps - steps[0]).max() > _SAME_TIME * steps[0]:
        raise InputError(
            f"{path}: the times between frames are not equal (from {steps.min():g} to "
            f"{steps.max():g} fs)"
        )
    return float(steps.mean())
