"""QM9: twelve properties of 134 000 small organic molecules at B3LYP/6-31G(2df,p).

Ramakrishnan, Dral, Rupp and von Lilienfeld, Sci. Data 1, 140022 (2014), doi 10.1038/sdata.2014.22.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from hermnet.data.fingerprint import FileStamp
from hermnet.data.frames import Frames
from hermnet.data.graphs import GraphSequence, graphs_of
from hermnet.data.labels import Labelling
from hermnet.data.npz import read_npz
from hermnet.data.packed import PackedFrames
from hermnet.data.qm9 import (
    ARCHIVE,
    ARCHIVE_MD5,
    ATOMS,
    EXCLUDED,
    N_EXCLUDED,
    PROPERTIES,
    of_atoms,
    read_archive,
    read_excluded,
)
from hermnet.data.splits import Indices, carve, check_indices
from hermnet.datamodule import GraphDataModule
from hermnet.errors import InputError, at_least, nearest
from hermnet.units import scalar_unit

# The twelve that models are compared by; the rotational constants follow from the geometry alone.
_TARGETS = {name: scalar_unit(unit)[1] for name, unit in PROPERTIES.items() if name not in "ABC"}
_N_TRAIN, _N_VAL = 110_000, 10_000  # of the published archive
_SPLITS = ("train", "val", "test")

Array = NDArray[Any]


@final
class QM9(GraphDataModule):
    """Properties of QM9's molecules, in D, a0^3, a0^2, eV and cal/(mol K).

    From the archive the molecules that failed the consistency check of geometries are left out, and
    the rest is split at random. It is unpacked once and kept in ``$HERMNET_CACHE``. A packed npz
    file with columns of the same names may have splits of its own.

    Args:
        root: the archive dsgdb9nsd.xyz.tar.bz2, the folder that holds it, or a packed npz file.
        targets: which properties to read: mu, alpha, homo, lumo, gap, r2, zpve, u0, u298, h298,
            g298, cv; all if not given.
        exclude: the list of uncharacterized molecules; by default uncharacterized.txt beside the
            archive.
        checksum: MD5 of the archive; null to take any archive.
        atomization: whether u0, u298, h298, g298 and cv are those of the molecule without those of
            its isolated atoms (QM9's own references); models are as accurate either way.
        n_train: number of training molecules; if not given 110000, or all that the file's own split
            has.
        n_val: number of validation molecules; if not given 10000, or all.
        n_test: number of test molecules; all that are left if not given.

    Raises:
        InputError: for a number out of range, or a target that is unknown or named twice.
    """

    def __init__(
        self,
        *,
        root: str,
        targets: list[str] | None = None,
        exclude: str | None = None,
        checksum: str | None = ARCHIVE_MD5,
        atomization: bool = False,
        n_train: int | None = None,
        n_val: int | None = None,
        n_test: int | None = None,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self.root = Path(root).expanduser()
        self.scalar_names = _checked(list(_TARGETS) if targets is None else targets)
        self.scalar_units = tuple(_TARGETS[name] for name in self.scalar_names)
        self.exclude = None if exclude is None else Path(exclude).expanduser()
        self.checksum = checksum
        self.atomization = atomization
        self.sizes = {
            "train": None if n_train is None else at_least("n_train", n_train, 1),
            "val": None if n_val is None else at_least("n_val", n_val, 0),
            "test": None if n_test is None else at_least("n_test", n_test, 0),
        }
        self._indices: Indices | None = None

    def read(self) -> dict[str, GraphSequence]:
        """Molecules in the order of the file; those of the archive are not held in memory.

        Raises:
            InputError: if a file is missing or damaged (for the archive: has another checksum),
                lacks a target, has one in another unit, or has fewer molecules than asked for.
        """
        path = self._path()
        frames, split = self._packed(path) if path.suffix == ".npz" else (self._archive(path), None)
        if self._indices is None:
            self._indices = self._split(len(frames)) if split is None else self._parts(path, split)
        check_indices(self._indices, len(frames), path)
        units = dict(zip(self.scalar_names, self.scalar_units, strict=True))
        labelling = Labelling.parse((), scalars=units)
        return {split: graphs_of(frames, labelling, part) for split, part in self._indices.items()}

    def split_indices(self) -> Indices | None:
        """See `GraphDataModule.split_indices`."""
        return self._indices

    def use_split_indices(self, indices: Indices) -> None:
        """See `GraphDataModule.use_split_indices`."""
        self._indices = indices

    def _path(self) -> Path:
        path = self.root / ARCHIVE if self.root.is_dir() else self.root
        if not path.is_file():
            raise InputError(
                f"root: there is no file {path}; QM9's {ARCHIVE} is in the figshare collection "
                "978904, doi 10.6084/m9.figshare.c.978904"
            )
        return path

    def _archive(self, path: Path) -> Frames:
        stamp = FileStamp.of(path)
        excluded = read_excluded(self.exclude or path.with_name(EXCLUDED))
        if self.checksum == ARCHIVE_MD5 and len(excluded) != N_EXCLUDED:
            raise InputError(
                f"{self.exclude or path.with_name(EXCLUDED)} names {len(excluded)} molecules; "
                f"QM9's list of uncharacterized ones has {N_EXCLUDED}"
            )
        arrays = self._values(path, read_archive(path, self.checksum), PROPERTIES)
        chosen = np.flatnonzero(~np.isin(arrays["gdb_index"], sorted(excluded)))
        how = ("qm9", str(self.atomization), *map(str, sorted(excluded)))
        return PackedFrames(arrays, stamp, how, chosen, in_memory=False)

    def _packed(self, path: Path) -> tuple[Frames, Array | None]:
        """Frames, and the file's own splits."""
        stamp = FileStamp.of(path)
        arrays, there = read_npz(path)
        for name in ("n_atoms", "numbers", *self.scalar_names):
            if name not in arrays:
                raise InputError(f"{path} has no '{name}'; it has {there}")
        values = self._values(path, arrays, {**_TARGETS, **_declared(path, arrays)})
        return PackedFrames(values, stamp, ("qm9", str(self.atomization))), arrays.get("split")

    def _values(
        self, path: Path, arrays: Mapping[str, Array], units: Mapping[str, str]
    ) -> dict[str, Array]:
        """The arrays with the targets in their units, and without atoms if that is wanted."""
        values = dict(arrays)
        for name, wanted in zip(self.scalar_names, self.scalar_units, strict=True):
            try:
                factor, unit = scalar_unit(units[name])
            except InputError as error:
                raise InputError(f"{path}: {name}: {error}") from error
            if unit != wanted:
                raise InputError(f"{path}: {name} is in '{unit}', not in '{wanted}'")
            values[name] = arrays[name] * factor
            if self.atomization and name in ATOMS:
                values[name] = values[name] - of_atoms(name, path, arrays)
        return values

    def _split(self, n_frames: int) -> Indices:
        train, val, test = (self.sizes[name] for name in _SPLITS)
        train, val = train or _N_TRAIN, _N_VAL if val is None else val
        # the same test molecules for a seed, whatever the other numbers
        first = {} if test is None else {"test": test}
        wanted = {**first, "val": val, "train": train}
        return carve(n_frames, wanted, self.seed, rest="test" if test is None else None)

    def _parts(self, path: Path, split: Array) -> Indices:
        """The file's own splits, or as many of their molecules as are asked for."""
        found: Indices = {}
        for name in _SPLITS:
            there = np.flatnonzero(split == name)
            wanted = self.sizes[name]
            if wanted is not None and wanted > len(there):
                raise InputError(f"n_{name} = {wanted} is more than the {len(there)} of {path}")
            order = np.random.default_rng(self.seed).permutation(len(there))
            found[name] = np.sort(there[order[:wanted]]).tolist()
        return found


def _checked(targets: list[str]) -> tuple[str, ...]:
    for name in targets:
        if name not in _TARGETS:
            raise InputError(f"targets: unknown '{name}'; {nearest(name, _TARGETS)}")
    if not targets or len(set(targets)) < len(targets):
        raise InputError(f"targets: name each once, and at least one: {', '.join(_TARGETS)}")
    return tuple(targets)


def _declared(path: Path, arrays: Mapping[str, Array]) -> dict[str, str]:
    """The units that the file's ``meta``, JSON, gives."""
    try:
        units = json.loads(str(arrays["meta"]))["units"] if "meta" in arrays else {}
        return {str(name): str(unit) for name, unit in units.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: meta is no JSON with units by name: {error!r}") from error
