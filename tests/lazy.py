"""A data module whose frames are read from a file one by one, for tests of what that entails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

import tiny
from hermnet.data.files import FileDataModule
from hermnet.data.fingerprint import FileStamp
from hermnet.data.frames import Frame, Frames

READS: list[tuple[str, int]] = []  # name of the file and index of every frame that was read


class LazyFrames(Frames):
    """Structures of one size; the file is opened again for each."""

    def __init__(self, path: Path) -> None:
        self._stamp = FileStamp.of(path)
        self._path = path
        with np.load(path) as arrays:
            self._n_frames = len(arrays["energy"])

    def __len__(self) -> int:
        return self._n_frames

    def __getitem__(self, index: int) -> Frame:
        READS.append((self._path.stem, index))
        with np.load(self._path) as arrays:
            atoms = Atoms(arrays["numbers"], arrays["positions"][index])
            results = {key: arrays[key][index] for key in ("energy", "forces", "other")}
        atoms.calc = SinglePointCalculator(atoms)
        atoms.calc.results = results
        return Frame.from_atoms(atoms, f"{self._path}, frame {index}")

    @property
    def in_memory(self) -> bool:
        return False

    def fingerprint(self) -> str | None:
        return self._stamp.fingerprint("lazy")


class Lazy(FileDataModule):
    """Frames of methanol as `write` leaves them."""

    def open(self, path: Path, part: str) -> Frames:
        return LazyFrames(path)


def write(path: Path, seeds: range, **changed: Any) -> Path:
    """Frames of methanol with energy, forces and an energy called ``other``; not compressed."""
    frames = [tiny.methanol(seed) for seed in seeds]
    arrays = {
        "numbers": frames[0].numbers,
        "positions": np.array([atoms.positions for atoms in frames]),
        "energy": np.array([atoms.get_potential_energy() for atoms in frames]),
        "forces": np.array([atoms.get_forces() for atoms in frames]),
        "other": np.arange(len(frames), dtype=float),
    }
    np.savez(path, **{**arrays, **changed})
    return path
