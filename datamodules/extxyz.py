"""Structures from files: extended xyz, and everything else that ASE reads."""

from __future__ import annotations

from pathlib import Path
from typing import final

from ase.io import read

from hermnet.data.files import FileDataModule
from hermnet.data.fingerprint import FileStamp
from hermnet.data.frames import Frame, FrameList
from hermnet.data.slices import frame_slice
from hermnet.errors import InputError


@final
class ExtXYZ(FileDataModule):
    """Frames with energies, forces and stresses from any file that ASE reads.

    Units are ASE's where the recipe does not say others: eV, eV/A and eV/A^3, stress positive under
    tension. A part is a slice of the frames, such as ``md.xyz::0:1000`` or ``md.xyz::::10``.
    """

    def open(self, path: Path, part: str) -> FrameList:
        """See `FileDataModule.open`."""
        wanted = frame_slice(path, part)
        # ASE's readers raise whatever their format's parser happens to raise.
        try:
            stamp = FileStamp.of(path)
            frames = read(path, index=wanted, do_not_split_by_at_sign=True)
        except Exception as error:
            raise InputError(f"ASE cannot read {path}: {type(error).__name__}: {error}") from error
        if not frames:
            raise InputError(f"{path} holds no frames{f' in {part}' if part else ''}")
        named = ((atoms, f"{path}, frame {index}") for index, atoms in enumerate(frames))
        return FrameList((Frame.from_atoms(*pair) for pair in named), stamp, ("ase", part))
