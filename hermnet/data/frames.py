"""Frames: structures as they stand in files, by index, in the files' own units."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, final

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from hermnet.data.fingerprint import FileStamp, digest
from hermnet.errors import InputError, nearest

Array = NDArray[Any]
_STRUCTURE = ("numbers", "positions")  # arrays of every ASE structure, no values


@dataclass(frozen=True)
class Frame:
    """One structure of a file and everything that the file says about it."""

    numbers: Array  # (n_atoms,) atomic numbers
    positions: Array  # (n_atoms, 3)
    cell: Array  # (3, 3), rows are lattice vectors, zero where there is none
    pbc: Array  # (3,) bool
    values: Mapping[str, Any]  # labels and other facts, by the file's own keys
    name: str  # for messages, such as "water.xyz, frame 3"

    @classmethod
    def from_atoms(cls, atoms: Atoms, name: str) -> Frame:
        """An ASE structure with what its calculator, its ``info`` and its ``arrays`` hold.

        Args:
            atoms: the structure; of a value that stands in several places the calculator's counts.
            name: for messages.
        """
        arrays = {key: value for key, value in atoms.arrays.items() if key not in _STRUCTURE}
        results = atoms.calc.results if atoms.calc is not None else {}
        values = {**arrays, **atoms.info, **results}
        return cls(
            atoms.numbers, atoms.positions, atoms.cell.array, np.asarray(atoms.pbc), values, name
        )

    def label(self, label: str, key: str, required: bool) -> Array | None:
        """The numbers of a label as the file has them, float64; None where they are missing.

        Args:
            label: what they are, for messages.
            key: where they stand.
            required: whether a frame without them is an error; NaN throughout is missing too.

        Raises:
            InputError: if they are missing and required, or are no finite numbers.
        """
        if key not in self.values:
            if required:
                raise InputError(f"no {label} '{key}'; {nearest(key, self.values)}")
            return None
        try:
            values = np.asarray(self.values[key], dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise InputError(f"{label} '{key}' is not numbers") from error
        if not required and np.isnan(values).all():
            return None
        if not np.isfinite(values).all():
            raise InputError(f"{label} '{key}' has NaN or infinity")
        return values


class Frames(ABC):
    """Frames by index. Nothing needs to be in memory before it is asked for."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of frames."""

    @abstractmethod
    def __getitem__(self, index: int) -> Frame:
        """The frame with this index, from 0; may raise `InputError` for a damaged file."""

    @property
    @abstractmethod
    def in_memory(self) -> bool:
        """Whether frames are held in memory anyway, so that graphs may be made of all at once."""

    def fingerprint(self) -> str | None:
        """A word that is another one whenever a frame is; None where nobody can say.

        What was found out about frames is kept on disk under this word. Frames of files have a
        `hermnet.data.fingerprint.FileStamp`, taken before the files were opened.
        """
        return None


@final
class FrameList(Frames):
    """Frames that are in memory.

    Args:
        frames: the frames.
        stamp: the file that all of them come from, if it is one.
        how: how it has been read, see `FileStamp.fingerprint`.
    """

    def __init__(
        self, frames: Iterable[Frame], stamp: FileStamp | None = None, how: Sequence[str] = ()
    ) -> None:
        self._frames = list(frames)
        self._stamp = stamp
        self._how = tuple(how)

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> Frame:
        return self._frames[index]

    @property
    def in_memory(self) -> bool:
        """See `Frames.in_memory`."""
        return True

    def fingerprint(self) -> str | None:
        """See `Frames.fingerprint`."""
        return None if self._stamp is None else self._stamp.fingerprint(*self._how)


@final
class JoinedFrames(Frames):
    """Several sets of frames, one after the other.

    Args:
        parts: the sets, at least one.
    """

    def __init__(self, parts: Sequence[Frames]) -> None:
        self._parts = list(parts)
        self._ends = list(accumulate(len(part) for part in parts))

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Frame:
        part = bisect_right(self._ends, index)
        return self._parts[part][index - (self._ends[part - 1] if part else 0)]

    @property
    def in_memory(self) -> bool:
        """See `Frames.in_memory`."""
        return all(part.in_memory for part in self._parts)

    def fingerprint(self) -> str | None:
        """See `Frames.fingerprint`."""
        found = [part.fingerprint() for part in self._parts]
        known = [word for word in found if word is not None]
        return digest(*known) if len(known) == len(found) else None


@final
class ChosenFrames(Frames):
    """Some frames of a set, in an order of their own.

    Args:
        frames: the set.
        indices: which of them; a range takes no memory.
    """

    def __init__(self, frames: Frames, indices: Sequence[int]) -> None:
        self._frames = frames
        self._indices = indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Frame:
        return self._frames[self._indices[index]]

    @property
    def in_memory(self) -> bool:
        """See `Frames.in_memory`."""
        return self._frames.in_memory

    def fingerprint(self) -> str | None:
        """See `Frames.fingerprint`."""
        inner = self._frames.fingerprint()
        return None if inner is None else digest(inner, np.asarray(self._indices).tobytes())
