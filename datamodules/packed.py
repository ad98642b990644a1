"""Packed frames: one npz file with the arrays of all frames laid end to end."""

from __future__ import annotations

from pathlib import Path
from typing import final

from hermnet.data.files import FileDataModule
from hermnet.data.frames import Frames
from hermnet.data.packed import read_packed


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
        return read_packed(path, part)
