"""ISO17: MD of 129 isomers of C7O2H10 at PBE+TS, as published.

Schuett et al., NeurIPS 2017, arXiv:1706.08566; quantum-machine.org/datasets.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, final

import numpy as np

from hermnet.data.frames import ChosenFrames, Frames
from hermnet.data.graphs import GraphSequence, graphs_of
from hermnet.data.labels import Labelling
from hermnet.data.sqlite import SqliteFrames
from hermnet.datamodule import GraphDataModule
from hermnet.errors import InputError, at_least, nearest

_TESTS = ("test_within", "test_other", "test_eq", "reference_eq")
_KEYS = {"energy": "total_energy", "forces": "atomic_forces"}


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
        reference = SqliteFrames(folder / "reference.db")
        frames = {
            "train": self._some("n_train", self.n_train, reference, folder / "train_ids.txt"),
            "val": self._some("n_val", self.n_val, reference, folder / "validation_ids.txt"),
        }
        for name in self.tests:
            rows = SqliteFrames(folder / f"{name}.db")
            _enough("n_test", self.n_test, len(rows), rows.path)
            frames[name] = ChosenFrames(rows, range(len(rows))[: self.n_test])
        labelling = Labelling.parse(tuple(_KEYS), _KEYS)
        return {name: graphs_of(chosen, labelling) for name, chosen in frames.items()}

    def _some(self, option: str, wanted: int | None, rows: SqliteFrames, path: Path) -> Frames:
        """The rows whose ids are in a file, or as many of them as are wanted."""
        try:
            ids = np.loadtxt(path, dtype=np.int64, ndmin=1)
        except (OSError, ValueError) as error:
            raise InputError(f"cannot read {path} as one row id per line: {error}") from error
        _enough(option, wanted, len(ids), path)
        order = np.random.default_rng(self.seed).permutation(len(ids))
        return ChosenFrames(rows, rows.places(np.sort(ids[order[:wanted]])))


def _folder(root: Path) -> Path:
    for folder in (root, root / "iso17"):
        if (folder / "reference.db").is_file():
            return folder
    if not root.is_dir():
        raise InputError(f"there is no folder {root}")
    there = ", ".join(sorted(path.name for path in root.iterdir())[:8])
    raise InputError(f"no reference.db in {root} or its folder iso17; there: {there or 'nothing'}")


def _enough(option: str, wanted: int | None, there: int, path: Path) -> None:
    if wanted is not None and wanted > there:
        raise InputError(f"{option} = {wanted} is more than the {there} of {path}")
