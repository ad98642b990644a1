"""ISO17: MD of 129 isomers of C7O2H10 at PBE+TS, as published.

Schuett et al., NeurIPS 2017, arXiv:1706.08566; quantum-machine.org/datasets.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
from ase.db import connect

from hermnet.data.frames import Frame, Frames
from hermnet.data.graphs import GraphSequence, graphs_of
from hermnet.data.labels import Labelling
from hermnet.datamodule import GraphDataModule, at_least
from hermnet.errors import InputError, nearest

_TESTS = ("test_within", "test_other", "test_eq", "reference_eq")
_KEYS = {"energy": "total_energy", "forces": "atomic_forces"}
_MAGIC = b"SQLite format 3\0"


@final
class ISO17(GraphDataModule):
    """The official splits of ISO17; frames are read when they are needed.

    Args:
        root: folder with ``reference.db``, ``train_ids.txt``, ``validation_ids.txt`` and the test
            sets, or the folder in which the archive has been unpacked.
        n_train: number of training frames, by a permutation that `seed` fixes; all if not given.
        n_val: the same for validation.
        n_test: number of frames of each test set, the first ones; all if not given.
        test: which test sets: test_within (unseen steps of the training trajectories), test_other
            (other isomers), test_eq and reference_eq (their equilibrium geometries).

    Raises:
        InputError: for a number out of range or an unknown test set.
    """

    def __init__(
        self,
        *,
        root: str,
        n_train: int | None = None,
        n_val: int | None = None,
        n_test: int | None = None,
        test: list[str] | None = None,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self.root = Path(root).expanduser()
        self.n_train = None if n_train is None else at_least("n_train", n_train, 1)
        self.n_val = None if n_val is None else at_least("n_val", n_val, 0)
        self.n_test = None if n_test is None else at_least("n_test", n_test, 0)
        self.tests = list(_TESTS[:2]) if test is None else test
        for name in self.tests:
            if name not in _TESTS:
                raise InputError(f"test: unknown test set '{name}'; {nearest(name, _TESTS)}")

    def read(self) -> dict[str, GraphSequence]:
        """Frames in eV and eV/A.

        Raises:
            InputError: if a file is missing or cannot be read, or if there are fewer frames than
                asked for.
        """
        folder = _folder(self.root)
        reference = folder / "reference.db"
        rows = {
            "train": (reference, self._some("n_train", self.n_train, folder / "train_ids.txt")),
            "val": (reference, self._some("n_val", self.n_val, folder / "validation_ids.txt")),
        }
        for name in self.tests:
            path = folder / f"{name}.db"
            there = _count(path)
            _enough("n_test", self.n_test, there, path)
            rows[name] = (path, range(1, 1 + (there if self.n_test is None else self.n_test)))
        labelling = Labelling.parse(tuple(_KEYS), _KEYS)
        return {name: graphs_of(RowFrames(*where), labelling) for name, where in rows.items()}

    def _some(self, option: str, wanted: int | None, path: Path) -> Sequence[int]:
        try:
            ids = np.loadtxt(path, dtype=np.int64, ndmin=1)
        except (OSError, ValueError) as error:
            raise InputError(f"cannot read {path} as one row id per line: {error}") from error
        _enough(option, wanted, len(ids), path)
        order = np.random.default_rng(self.seed).permutation(len(ids))
        chosen: list[int] = np.sort(ids[order[:wanted]]).tolist()
        return chosen


@final
class RowFrames(Frames):
    """Rows of an ASE database, each read when it is asked for.

    Args:
        path: a SQLite file.
        ids: of the rows, from 1.
    """

    def __init__(self, path: Path, ids: Sequence[int]) -> None:
        _check(path)
        self._path = path
        self._ids = ids
        self._database = connect(path, use_lock_file=False)  # connects anew for every row

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, index: int) -> Frame:
        name = f"{self._path}, row {self._ids[index]}"
        try:
            row = self._database.get(id=self._ids[index])
            values = {**row.data, **row.key_value_pairs}
        except KeyError as error:
            raise InputError(f"{name} is missing") from error
        except (sqlite3.Error, OSError, ValueError, TypeError) as error:
            raise InputError(f"cannot read {name}: {error}") from error
        return Frame(row.numbers, row.positions, row.cell, row.pbc, values, name)

    @property
    def in_memory(self) -> bool:
        """See `Frames.in_memory`."""
        return False


def _folder(root: Path) -> Path:
    for folder in (root, root / "iso17"):
        if (folder / "reference.db").is_file():
            return folder
    if not root.is_dir():
        raise InputError(f"there is no folder {root}")
    there = ", ".join(sorted(path.name for path in root.iterdir())[:8])
    raise InputError(f"no reference.db in {root} or its folder iso17; there: {there or 'nothing'}")


def _count(path: Path) -> int:
    _check(path)
    try:
        return int(connect(path, use_lock_file=False).count())
    except (sqlite3.Error, OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {error}") from error


def _check(path: Path) -> None:
    """Refuse what is no database: ASE would make one of an empty or missing file."""
    try:
        with path.open("rb") as stream:
            start = stream.read(len(_MAGIC))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error}") from error
    if start != _MAGIC:
        raise InputError(f"{path} is no SQLite database")


def _enough(option: str, wanted: int | None, there: int, path: Path) -> None:
    if wanted is not None and wanted > there:
        raise InputError(f"{option} = {wanted} is more than the {there} of {path}")
