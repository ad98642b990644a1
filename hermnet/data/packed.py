"""Packed frames: arrays in which all frames are laid end to end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from hermnet.data.fingerprint import FileStamp
from hermnet.data.frames import Frame, Frames
from hermnet.data.npz import read_npz
from hermnet.errors import InputError, nearest

Array = NDArray[Any]
_NEEDED = ("n_atoms", "numbers", "positions")


@final
class PackedFrames(Frames):
    """Frames out of arrays with a row for each frame or each atom.

    Args:
        arrays: ``n_atoms`` (n_frames,), ``numbers`` and ``positions`` of all atoms, and others by
            frame or atom.
        stamp: of the file that they come from.
        how: the format and what else the frames depend on, for the fingerprint.
        chosen: which frames; all if not given.
        in_memory: whether graphs may be made of all at once.

    Raises:
        InputError: if an array is missing, or does not fit the others.
    """

    def __init__(
        self,
        arrays: Mapping[str, Array],
        stamp: FileStamp,
        how: tuple[str, ...],
        chosen: Array | None = None,
        in_memory: bool = True,
    ) -> None:
        self._stamp, self._how, self._in_memory = stamp, how, in_memory
        missing = [name for name in _NEEDED if name not in arrays]
        if missing:
            raise InputError(f"{stamp.path} lacks {', '.join(missing)}; it has {', '.join(arrays)}")
        n_atoms = arrays["n_atoms"].astype(np.int64)
        self._ends = np.cumsum(n_atoms)
        rest = {name: array for name, array in arrays.items() if name != "n_atoms" and array.ndim}
        self._by_atom = {k: v for k, v in rest.items() if len(v) == self._ends[-1]}
        self._by_frame = {k: v for k, v in rest.items() if len(v) == len(n_atoms)}
        for name in ("numbers", "positions"):
            if name not in self._by_atom:
                raise InputError(
                    f"{stamp.path}: {name} has {len(arrays[name])} rows, "
                    f"the frames have {self._ends[-1]} atoms"
                )
        self._chosen = np.arange(len(n_atoms)) if chosen is None else chosen

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, index: int) -> Frame:
        k = int(self._chosen[index])
        rows = slice(int(self._ends[k - 1]) if k else 0, int(self._ends[k]))
        values = {name: array[k] for name, array in self._by_frame.items()}
        values |= {name: array[rows] for name, array in self._by_atom.items()}
        cell, pbc = values.pop("cell", np.zeros((3, 3))), values.pop("pbc", np.zeros(3, bool))
        numbers, positions = values.pop("numbers"), values.pop("positions")
        name = f"{self._stamp.path}, frame {k}"
        return Frame(numbers, positions, cell, pbc, _present(values), name)

    @property
    def in_memory(self) -> bool:
        """See `Frames.in_memory`."""
        return self._in_memory

    def sizes(self) -> list[int]:
        """See `Frames.sizes`."""
        sizes: list[int] = np.diff(self._ends, prepend=0)[self._chosen].tolist()
        return sizes

    def fingerprint(self) -> str | None:
        """See `Frames.fingerprint`."""
        return self._stamp.fingerprint(*self._how)


def read_packed(path: Path, part: str = "") -> PackedFrames:
    """The frames of an npz file, or of a part of it.

    Args:
        path: the file.
        part: a word of its array ``split``; empty for all frames.

    Raises:
        InputError: if it cannot be read, lacks an array, or has no such part.
    """
    stamp = FileStamp.of(path)
    arrays, _ = read_npz(path)
    arrays = {name: array for name, array in arrays.items() if array.ndim > 0}
    chosen = _part(path, arrays, part) if part else None
    return PackedFrames(arrays, stamp, ("packed", part), chosen)


def _part(path: Path, arrays: Mapping[str, Array], part: str) -> Array:
    split = arrays.get("split")
    if split is None or len(split) != len(arrays.get("n_atoms", ())):
        raise InputError(f"{path} has no parts, so no '{part}': it lacks 'split'")
    if part not in split:
        known = nearest(part, np.unique(split).tolist())
        raise InputError(f"{path} has no part '{part}'; {known}")
    return np.flatnonzero(split == part)


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    """What is there: numbers that are NaN throughout are missing."""
    return {
        name: value
        for name, value in values.items()
        if not (np.issubdtype(np.asarray(value).dtype, np.floating) and np.isnan(value).all())
    }
