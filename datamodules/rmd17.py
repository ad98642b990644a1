"""rMD17: MD of ten small molecules at PBE/def2-SVP, in both layouts in which it is published.

Christensen and von Lilienfeld, Mach. Learn.: Sci. Technol. 1, 045018 (2020), arXiv:2007.09593.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hermnet.data.graphs import graphs_of
from hermnet.data.labels import Labelling
from hermnet.data.npz import read_npz
from hermnet.data.trajectory import Trajectory
from hermnet.datamodule import GraphDataModule
from hermnet.errors import InputError, at_least, nearest
from hermnet.graph import AtomicGraph

_VALUES = {"coords": "positions", "energies": "energy", "forces": "forces"}  # and our names
_ARRAYS = ("nuclear_charges", *_VALUES)
_PARTS = ("train", "test")


class RMD17(GraphDataModule):
    """The official splits of revised MD17.

    Validation frames are taken from the 1000 training frames, by a permutation that `seed` fixes.
    The authors of the data ask not to train on more than 1000 frames.

    Args:
        molecule: as in the file names: aspirin, azobenzene, benzene, ethanol, malonaldehyde,
            naphthalene, paracetamol, salicylic, toluene, uracil.
        root: folder with ``npz_data/`` and ``splits/`` (the figshare archive), or with files
            ``rmd17_<molecule>_{train,test}_0<split>.npz``; without it the ethanol split 1 that
            comes with HermNet.
        split: official split, 1 to 5.
        n_train: number of training frames.
        n_val: number of validation frames, other ones than the training frames.
        n_test: number of test frames, the first ones; all if not given.
        batch_size: structures per training step.
        eval_batch_size: structures per step of validation, test and prediction.
        num_workers: processes that collate batches beside the training.
        seed: of the choice of validation frames and of the order of the training frames.

    Raises:
        InputError: for a number out of range.
    """

    def __init__(
        self,
        *,
        molecule: str = "ethanol",
        root: str | None = None,
        split: int = 1,
        n_train: int = 950,
        n_val: int = 50,
        n_test: int | None = None,
        batch_size: int = 10,
        eval_batch_size: int = 100,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            num_workers=num_workers,
            seed=seed,
        )
        if not 1 <= split <= 5:
            raise InputError(f"split must be 1 to 5, the official splits of rMD17, not {split}")
        self.molecule = molecule
        self.root = Path(root).expanduser() if root is not None else _packaged()
        self.split = split
        self.n_train = at_least("n_train", n_train, 1)
        self.n_val = at_least("n_val", n_val, 0)
        self.n_test = None if n_test is None else at_least("n_test", n_test, 0)

    def read(self) -> dict[str, list[AtomicGraph]]:
        """Frames in eV and eV/A.

        Raises:
            InputError: if the files are not there (it says what was looked for and what is there),
                cannot be read, or have fewer frames than asked for.
        """
        parts = {part: _load(self.root, self.molecule, self.split, part) for part in _PARTS}
        n_frames = {part: len(arrays["energies"]) for part, arrays in parts.items()}
        n_test = n_frames["test"] if self.n_test is None else self.n_test
        if self.n_train + self.n_val > n_frames["train"]:
            raise InputError(
                f"n_train + n_val = {self.n_train} + {self.n_val} is more than the "
                f"{n_frames['train']} training frames of {self.molecule}, split {self.split}"
            )
        if n_test > n_frames["test"]:
            raise InputError(
                f"n_test = {n_test} is more than the {n_frames['test']} test frames of "
                f"{self.molecule}, split {self.split}"
            )
        order = np.random.default_rng(self.seed).permutation(n_frames["train"])
        train, test = (self._frames_of(part, arrays) for part, arrays in parts.items())
        labelling = Labelling.parse(("energy", "forces"), units={"energy": "kcal/mol"})
        chosen = {
            "train": (train, order[: self.n_train]),
            "val": (train, order[self.n_train : self.n_train + self.n_val]),
            "test": (test, np.arange(n_test)),
        }
        return {
            split: list(graphs_of(frames, labelling, indices.tolist()))
            for split, (frames, indices) in chosen.items()
        }

    def _frames_of(self, part: str, arrays: dict[str, NDArray[Any]]) -> Trajectory:
        values = {ours: arrays[name] for name, ours in _VALUES.items()}
        name = f"rMD17 {self.molecule}, split {self.split}, {part}"
        return Trajectory(arrays["nuclear_charges"], values, name)


def _packaged() -> Path:
    return Path(str(files("hermnet.datamodules").joinpath("quickstart")))


def _load(root: Path, molecule: str, split: int, part: str) -> dict[str, NDArray[Any]]:
    """The arrays of one part of a split, in the units and the order of the file."""
    own_file = root / f"rmd17_{molecule}_{part}_{split:02d}.npz"
    if own_file.is_file():
        return _open(own_file)
    for folder in (root, root / "rmd17"):  # the archive unpacks into a folder rmd17
        whole = folder / "npz_data" / f"rmd17_{molecule}.npz"
        indices = folder / "splits" / f"index_{part}_{split:02d}.csv"
        if whole.is_file() and indices.is_file():
            return _pick(_open(whole), whole, indices)
    raise InputError(
        f"no rMD17 data of '{molecule}', split {split}: looked for {own_file.name}, and for "
        f"npz_data/rmd17_{molecule}.npz with splits/index_{part}_{split:02d}.csv, in {root}; "
        f"{_offer(root, molecule)}"
    )


def _open(path: Path) -> dict[str, NDArray[Any]]:
    arrays, there = read_npz(path, _ARRAYS)
    missing = [name for name in _ARRAYS if name not in arrays]
    if missing:
        raise InputError(f"{path} lacks {', '.join(missing)}; it has {there}")
    expected = (len(arrays["energies"]), len(arrays["nuclear_charges"]), 3)
    for name in ("coords", "forces"):
        if arrays[name].shape != expected:
            raise InputError(f"{path}: {name} has shape {arrays[name].shape}, not {expected}")
    return arrays


def _pick(arrays: dict[str, NDArray[Any]], whole: Path, indices: Path) -> dict[str, NDArray[Any]]:
    try:
        chosen = np.loadtxt(indices, dtype=np.int64, ndmin=1)
    except ValueError as error:
        raise InputError(f"{indices} is not one frame index per line: {error}") from error
    n_frames = len(arrays["energies"])
    outside = chosen[(chosen < 0) | (chosen >= n_frames)]
    if len(outside):
        raise InputError(f"{indices} asks for frame {outside[0]}; {whole} has {n_frames}")
    picked = {name: arrays[name][chosen] for name in ("coords", "energies", "forces")}
    return {"nuclear_charges": arrays["nuclear_charges"], **picked}


def _offer(root: Path, molecule: str) -> str:
    """What a folder holds instead, for a message."""
    if not root.is_dir():
        return "there is no such folder"
    splits: dict[str, set[int]] = {}  # by molecule
    for path in root.glob("rmd17_*_train_0?.npz"):
        name = path.stem.removeprefix("rmd17_").rsplit("_", 2)[0]
        splits.setdefault(name, set()).add(int(path.stem[-2:]))
    for folder in (root, root / "rmd17"):
        official = {int(path.stem[-2:]) for path in folder.glob("splits/index_train_0?.csv")}
        for path in folder.glob("npz_data/rmd17_*.npz"):
            splits.setdefault(path.stem.removeprefix("rmd17_"), set()).update(official)
    if molecule in splits:
        return f"splits of {molecule} there: {sorted(splits[molecule])}"
    numbers = sorted(set().union(*splits.values()))
    return f"molecules there: {nearest(molecule, splits)}, splits there: {numbers}"
