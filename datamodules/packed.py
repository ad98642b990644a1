"""Packed frames: one npz file with the arrays of all frames laid end to end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from hermnet.data.files import FileDataModule
from hermnet.data.fingerprint import FileStamp
from hermnet.data.frames import Frame, Frames
from hermnet.data.npz import read_npz
from hermnet.errors import InputError, nearest

Array = NDArray[Any]
_NEEDED = ("n_atoms", "numbers", "positions")


@final
class Packed(FileDataModule):
    """Frames of npz files that hold all frames end to end, with named parts.

    A file has ``n_atoms`` (n_frames,), ``numbers`` and ``positions`` of all atoms, and where there
    are any ``cell``, ``pbc``, ``energy``, ``forces``, ``stress`` and other arrays with a row for
    each frame or atom. Numbers that are NaN are missing. Where the file has an array ``split``,
    ``file.npz::train`` means the frames of that part, ``file.npz`` all of them.
    """

    def open(self, path: Path, part: str) -> Frames:
        """See `FileDataModule.open`."""
        return PackedFrames(path, part)


@final
class PackedFrames(Frames):
    """The frames of one file, or of a part of it.

    Args:
        path: the file.
        part: a word of its array ``split``; empty for all frames.

    Raises:
        InputError: if it cannot be read, lacks an array, or has no such part.
    """

    def __init__(self, path: Path, part: str) -> None:
        self._stamp = FileStamp.of(path)
        arrays = _read(path)
        missing = [name for name in _NEEDED if name not in arrays]
        if missing:
            raise InputError(f"{path} lacks {', '.join(missing)}; it has {', '.join(arrays)}")
        n_atoms = arrays.pop("n_atoms").astype(np.int64)
        self._path = path
        self._name = part
        self._ends = np.cumsum(n_atoms)
        self._by_atom = {k: v for k, v in arrays.items() if len(v) == self._ends[-1]}
        self._by_frame = {k: v for k, v in arrays.items() if len(v) == len(n_atoms)}
        for name in ("numbers", "positions"):
            if name not in self._by_atom:
                raise InputError(
                    f"{path}: {name} has {len(arrays[name])} rows, "
                    f"the frames have {self._ends[-1]} atoms"
                )
        self._chosen = self._part(part) if part else np.arange(len(n_atoms))

    def _part(self, part: str) -> Array:
        if "split" not in self._by_frame:
            raise InputError(f"{self._path} has no parts, so no '{part}': it lacks 'split'")
        split = self._by_frame["split"]
        if part not in split:
            known = nearest(part, np.unique(split).tolist())
            raise InputError(f"{self._path} has no part '{part}'; {known}")
        return np.flatnonzero(split == part)

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, index: int) -> Frame:
        k = int(self._chosen[index])
        rows = slice(int(self._ends[k - 1]) if k else 0, int(self._ends[k]))
        values = {name: array[k] for name, array in self._by_frame.items()}
        values |= {name: array[rows] for name, array in self._by_atom.items()}
        cell, pbc = values.pop("cell", np.zeros((3, 3))), values.pop("pbc", np.zeros(3, bool))
        numbers, positions = values.pop("numbers"), values.pop("positions")
        name = f"{self._path}, frame {k}"
        return Frame(numbers, positions, cell, pbc, _present(values), name)

    @property
    def in_memory(self) -> bool:
        """See `Frames.in_memory`."""
        return True

    def sizes(self) -> list[int]:
        """See `Frames.sizes`."""
        sizes: list[int] = np.diff(self._ends, prepend=0)[self._chosen].tolist()
        return sizes

    def fingerprint(self) -> str | None:
        """See `Frames.fingerprint`."""
        return self._stamp.fingerprint("packed", self._name)


def _read(path: Path) -> dict[str, Array]:
    arrays, _ = read_npz(path)
    return {name: array for name, array in arrays.items() if array.ndim > 0}


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    """What is there: numbers that are NaN throughout are missing."""
    return {
        name: value
        for name, value in values.items()
        if not (np.issubdtype(np.asarray(value).dtype, np.floating) and np.isnan(value).all())
    }
