"""Frames of one molecule: atomic numbers that all share, and an array for everything else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from hermnet.data.frames import Frame, Frames
from hermnet.errors import InputError

Array = NDArray[Any]


@final
class Trajectory(Frames):
    """Conformations of a molecule without a cell.

    Args:
        numbers: (n_atoms,) atomic numbers.
        arrays: ``positions`` (n_frames, n_atoms, 3), and values of the frames by their keys.
        name: for messages, such as the path of the file.

    Raises:
        InputError: if the positions or a value do not fit the atoms or the number of frames.
    """

    def __init__(self, numbers: Array, arrays: Mapping[str, Array], name: str) -> None:
        values = dict(arrays)
        self._numbers = numbers
        self._positions = values.pop("positions")
        self._values = values
        self._name = name
        expected = (len(self._positions), len(numbers), 3)
        if self._positions.shape != expected:
            raise InputError(
                f"{name}: the positions have shape {self._positions.shape}, not {expected}"
            )
        for key, array in values.items():
            if array.ndim == 0 or len(array) != len(self):
                raise InputError(f"{name}: {key} has shape {array.shape}, the positions {expected}")

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, index: int) -> Frame:
        values = {key: array[index] for key, array in self._values.items()}
        cell, pbc = np.zeros((3, 3)), np.zeros(3, dtype=bool)
        name = f"{self._name}, frame {index}"
        return Frame(self._numbers, self._positions[index], cell, pbc, values, name)

    @property
    def in_memory(self) -> bool:
        """See `Frames.in_memory`."""
        return True
