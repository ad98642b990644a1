"""DeePMD-kit's npy systems."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np

from hermnet.data.files import FileDataModule
from hermnet.data.frames import Frame, FrameList
from hermnet.data.from_dpdata import read_system, system_frames
from hermnet.errors import InputError

_TYPES = "type.raw"
_MIXED = "real_atom_types.npy"


@final
class DeePMD(FileDataModule):
    """Systems of DeePMD-kit: folders with type.raw, type_map.raw and set.*/coord.npy.

    A path is a system, or a folder in which systems are looked for at any depth. Units are those of
    the format: A, eV, eV/A, and the virial in eV, from which the stress is made. Systems of mixed
    type are read too.

    Args:
        type_map: element symbols by type, for systems without type_map.raw.
    """

    default_keys: ClassVar[Mapping[str, str]] = {"stress": "virial"}
    default_stress: ClassVar[Mapping[str, str]] = {"kind": "virial"}

    def __init__(self, *, type_map: list[str] | None = None, **files: Any) -> None:
        super().__init__(**files)
        self.type_map = type_map

    def open(self, path: Path, part: str) -> FrameList:
        """See `FileDataModule.open`."""
        if part:
            raise InputError(f"{path}::{part}: a system has no parts")
        systems = sorted(file.parent for file in path.rglob(_TYPES))
        if not systems:
            raise InputError(f"{path} holds no system of DeePMD-kit: there is no {_TYPES} in it")
        frames = FrameList(frame for system in systems for frame in self._system(system))
        if len(frames) == 0:
            raise InputError(f"{path} holds no frames")
        return frames

    def _system(self, path: Path) -> Iterator[Frame]:
        types = _types(path)
        names = self._names(path)
        if any(path.glob(f"set.*/{_MIXED}")):
            yield from _mixed(path, names)
            return
        if types.max(initial=-1) >= len(names):
            raise InputError(
                f"{path}: type.raw has type {types.max()}, but the type map has "
                f"{len(names)} elements ({', '.join(names)})"
            )
        yield from read_system(path, "deepmd/npy", type_map=names)

    def _names(self, path: Path) -> list[str]:
        file = path / "type_map.raw"
        if file.is_file():
            return file.read_text(encoding="utf-8").split()
        if self.type_map is None:
            raise InputError(f"{path} has no type_map.raw; give data.type_map, such as [O, H]")
        return self.type_map


def _types(path: Path) -> Any:
    try:
        return np.loadtxt(path / _TYPES, dtype=np.int64, ndmin=1)
    except (OSError, ValueError) as error:
        raise InputError(f"{path / _TYPES} is not one type per atom: {error}") from error


def _mixed(path: Path, names: list[str]) -> Iterator[Frame]:
    import dpdata  # late, as in `read_system`

    try:
        systems = dpdata.MultiSystems()  # type: ignore[no-untyped-call]
        systems.load_systems_from_file(str(path), fmt="deepmd/npy/mixed")
    except Exception as error:  # whatever the reader happens to raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"dpdata cannot read {path} as deepmd/npy/mixed: {reason}") from error
    for system in systems.systems.values():
        yield from system_frames(system.data, path)
