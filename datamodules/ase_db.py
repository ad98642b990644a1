"""ASE databases: SQLite files and LMDB shards, read frame by frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import final

from hermnet.data.aselmdb import SUFFIX as LMDB
from hermnet.data.aselmdb import LmdbFrames
from hermnet.data.files import FileDataModule
from hermnet.data.frames import Frames, JoinedFrames
from hermnet.data.labels import unit_factors
from hermnet.data.scalars import Scalars
from hermnet.data.slices import is_slice, sliced_lazily
from hermnet.data.sqlite import SUFFIX as SQLITE
from hermnet.data.sqlite import SqliteFrames
from hermnet.errors import InputError, nearest
from hermnet.units import scalar_unit

_SUFFIXES = (SQLITE, LMDB)


@final
class AseDb(FileDataModule):
    """Frames with energies, forces and stresses from ASE databases of any size.

    A path is a SQLite file (.db), an LMDB file (.aselmdb, of which OC20, OMat24 and ``hermnet data
    convert`` are made), a pattern, or a folder of such files, which are joined in the order of
    their names. Frames are read when they are needed. Labels are looked for among the results of
    the row's calculator, its key-value pairs and its data.

    A part is a slice of the frames of a path, such as ``oc20/train::0:1000``; of a SQLite file also
    what ASE selects by, such as ``water.db::natoms<50``. Units are ASE's where neither the recipe
    nor the file's metadata say others, as in ``units: {energy: kcal/mol}``.
    """

    _settled: tuple[str, Mapping[str, float]] | None = None  # whose units the labels are read in

    def open(self, path: Path, part: str) -> Frames:
        """See `FileDataModule.open`."""
        selection = "" if is_slice(part) else part
        opened: list[Frames] = []
        for file in _files(path):
            if file.suffix == SQLITE:
                frames: SqliteFrames | LmdbFrames = SqliteFrames(file, selection)
            elif selection:
                raise InputError(
                    f"{path}::{part}: only of {SQLITE} files can frames be selected; of others "
                    "give a slice, such as 0:1000"
                )
            else:
                frames = LmdbFrames(file)
            self._settle(file, frames.metadata.get("units"))
            _check_scalars(file, frames.metadata.get("scalars"), self.labelling.scalars)
            opened.append(frames)
        joined = JoinedFrames(opened) if len(opened) > 1 else opened[0]
        return joined if selection else sliced_lazily(joined, path, part)

    def _settle(self, file: Path, declared: object) -> None:
        """Read labels in the units of this file, which must be those of recipe and other files."""
        units = {**self.units, **_declared(file, declared)}
        kind = self.labelling.stress.kind
        try:
            factors = unit_factors(units, kind)
            wanted = unit_factors({**units, **self.units}, kind)
        except InputError as error:
            raise InputError(f"{file}: {error}") from error
        for name, factor in wanted.items():
            if not _same(factor, factors[name]):
                raise InputError(
                    f"units.{name}: the recipe says '{self.units.get(name)}', but {file} declares "
                    f"'{units[name]}'"
                )
        if self._settled is None:
            self._settled = (str(file), factors)
            self.labelling = replace(self.labelling, factors=factors)
        other, settled = self._settled
        for name, factor in settled.items():
            if not _same(factor, factors[name]):
                raise InputError(
                    f"{other} and {file} have different units of {name}; read them apart, or "
                    "convert one of them"
                )


def _same(one: float, other: float) -> bool:
    return abs(one - other) <= 1e-9 * abs(other)


def _declared(file: Path, units: object) -> dict[str, str]:
    """The units that a file's metadata declare, of the quantities that are read."""
    if units is None:
        return {}
    if not isinstance(units, dict) or not all(isinstance(unit, str) for unit in units.values()):
        raise InputError(f"{file}: the metadata's units are no mapping of quantities to units")
    read = ("length", "energy", "forces", "stress", "dipole")
    return {k: v for k, v in units.items() if k in read}


def _check_scalars(file: Path, declared: object, scalars: Scalars) -> None:
    """Refuse a scalar that the recipe reads in another unit than the file's metadata declare."""
    if not isinstance(declared, dict):
        return
    for name, key, factor, unit in zip(
        scalars.names, scalars.keys, scalars.factors, scalars.units, strict=True
    ):
        if key in declared and scalar_unit(str(declared[key])) != (factor, unit):
            raise InputError(
                f"scalars.{name}: {file} declares '{declared[key] or 1}', the recipe another unit"
            )


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        if path.suffix not in _SUFFIXES:
            known = nearest(path.suffix, _SUFFIXES)
            raise InputError(f"{path}: '{path.suffix}' is no extension of an ASE database; {known}")
        return [path]
    found = sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES and file.is_file())
    if not found:
        there = ", ".join(sorted(other.name for other in path.iterdir())[:5]) or "nothing"
        raise InputError(f"no {' or '.join(_SUFFIXES)} file in the folder {path}; it has: {there}")
    return found
