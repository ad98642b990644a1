"""`SGDMLDataModule`: trajectories of molecules as the sGDML project publishes them."""

from __future__ import annotations

from abc import ABC
from pathlib import Path
from typing import Any, ClassVar

from hermnet.data.graphs import GraphSequence, graphs_of
from hermnet.data.labels import Labelling
from hermnet.data.npz import read_npz
from hermnet.data.splits import Indices, carve, check_indices
from hermnet.data.trajectory import Trajectory
from hermnet.datamodule import GraphDataModule
from hermnet.errors import InputError, at_least, nearest

# sGDML's names of an array, and ours; some files say nuclear_charges.
_ARRAYS = {"R": "positions", "E": "energy", "F": "forces"}
_NUMBERS = ("z", "nuclear_charges")
_UNITS = {"e_unit": "energy", "r_unit": "length"}  # arrays of one word, in newer files
_WORDS = {"Ang": "A", "a0": "Bohr", "bohr": "Bohr", "hartree": "Hartree"}  # sGDML's, and ours


class SGDMLDataModule(GraphDataModule, ABC):
    """One molecule's trajectory, split at random.

    A file has ``z`` (or ``nuclear_charges``), ``R``, ``E`` and ``F``, in kcal/mol and A unless it
    names other units itself.

    Args:
        molecule: as in the file's name.
        root: folder with the files.
        n_train: number of training frames.
        n_val: number of validation frames.
        n_test: number of test frames; the same ones for a seed, whatever the other numbers; all
            that are left if null.

    Raises:
        InputError: for a number out of range.
    """

    file_names: ClassVar[tuple[str, ...]]  # patterns with {} for the molecule

    def __init__(
        self,
        *,
        molecule: str,
        root: str,
        n_train: int = 950,
        n_val: int = 50,
        n_test: int | None = 1000,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self.molecule = molecule
        self.root = Path(root).expanduser()
        self.n_train = at_least("n_train", n_train, 1)
        self.n_val = at_least("n_val", n_val, 0)
        self.n_test = None if n_test is None else at_least("n_test", n_test, 0)
        self._indices: Indices | None = None

    def read(self) -> dict[str, GraphSequence]:
        """Frames in eV and eV/A, each split in the order of the trajectory.

        Raises:
            InputError: if the file is not there (it says what was looked for and what is there),
                cannot be read, or has fewer frames than asked for.
        """
        frames, units = _load(self._path())
        if self._indices is None:
            parts = {"test": self.n_test, "val": self.n_val, "train": self.n_train}
            wanted = {name: n for name, n in parts.items() if n is not None}
            rest = "test" if self.n_test is None else None
            self._indices = carve(len(frames), wanted, self.seed, rest=rest)
        check_indices(self._indices, len(frames), self._path())
        labelling = Labelling.parse(("energy", "forces"), units=units)
        return {split: graphs_of(frames, labelling, part) for split, part in self._indices.items()}

    def split_indices(self) -> Indices | None:
        """See `GraphDataModule.split_indices`."""
        return self._indices

    def use_split_indices(self, indices: Indices) -> None:
        """See `GraphDataModule.use_split_indices`."""
        self._indices = indices

    def _path(self) -> Path:
        names = [name.format(self.molecule) for name in self.file_names]
        for name in names:
            if (self.root / name).is_file():
                return self.root / name
        looked = f"no data of '{self.molecule}': looked for {' and '.join(names)} in {self.root}"
        if not self.root.is_dir():
            raise InputError(f"{looked}; there is no such folder")
        raise InputError(f"{looked}; molecules there: {nearest(self.molecule, self._molecules())}")

    def _molecules(self) -> set[str]:
        found: dict[str, str] = {}  # molecule by file; the first pattern that fits names it
        for pattern in self.file_names:
            before, _, after = pattern.partition("{}")
            for path in self.root.glob(pattern.format("*")):
                name = path.name.removeprefix(before).removesuffix(after)
                found.setdefault(path.name, name)
        return set(found.values())


def _load(path: Path) -> tuple[Trajectory, dict[str, str]]:
    """The frames of a file, and their units."""
    arrays, there = read_npz(path, (*_ARRAYS, *_NUMBERS, *_UNITS))
    numbers = next((arrays[name] for name in _NUMBERS if name in arrays), None)
    missing = [name for name in _ARRAYS if name not in arrays]
    missing += ["z"] if numbers is None else []
    if numbers is None or missing:
        raise InputError(f"{path} lacks {', '.join(missing)}; it has {there}")
    units = {"energy": "kcal/mol", "length": "A"}
    for name, quantity in _UNITS.items():
        if name in arrays:
            word = str(arrays[name])
            units[quantity] = _WORDS.get(word, word)
    values = {ours: arrays[name] for name, ours in _ARRAYS.items()}
    return Trajectory(numbers, values, str(path)), units
