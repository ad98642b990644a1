"""Structures from files: extended xyz, and everything else that ASE reads."""

from __future__ import annotations

import glob
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.io import read
from numpy.typing import NDArray

from hermnet.datamodule import LABELS, GraphDataModule, at_least
from hermnet.errors import InputError, nearest
from hermnet.graph import AtomicGraph
from hermnet.neighbors import graph_from_atoms

_STRUCTURE = ("numbers", "positions")  # arrays of every frame, no labels
_FROM_VOIGT = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])  # xx yy zz yz xz xy to 3x3


class ExtXYZ(GraphDataModule):
    """Frames with energies, forces and stresses from any file that ASE reads.

    Units are ASE's: eV, eV/A and eV/A^3, stress positive under tension. A path is relative to the
    folder where the program runs, and may be a pattern such as ``data/*.xyz``.

    Args:
        train: file or pattern of the training frames.
        val: file or pattern of the validation frames.
        test: file or pattern of the test frames.
        n_val: number of validation frames to take from the training frames if there is no `val`, by
            a permutation that `seed` fixes.
        labels: which labels to read, such as ``energy,forces`` or ``energy,forces,stress``; every
            frame must have them.
        energy_key: where a frame keeps its total energy.
        forces_key: where a frame keeps its forces.
        stress_key: where a frame keeps its stress, 3x3 or six numbers xx yy zz yz xz xy.
        batch_size: structures per training step.
        eval_batch_size: structures per step of validation, test and prediction.
        num_workers: processes that collate batches beside the training.
        seed: of the choice of validation frames and of the order of the training frames.

    Raises:
        InputError: for a number out of range, an unknown label, or both `val` and `n_val`.
    """

    def __init__(
        self,
        *,
        train: str,
        val: str | None = None,
        test: str | None = None,
        n_val: int = 0,
        labels: str = "energy,forces",
        energy_key: str = "energy",
        forces_key: str = "forces",
        stress_key: str = "stress",
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
        if val is not None and n_val:
            raise InputError(f"give val ('{val}') or n_val ({n_val}), not both")
        self.paths = {"train": train, "val": val, "test": test}
        self.n_val = at_least("n_val", n_val, 0)
        keys = {"energy": energy_key, "forces": forces_key, "stress": stress_key}
        self.keys = {name: keys[name] for name in _wanted(labels)}

    def read(self) -> dict[str, list[AtomicGraph]]:
        """Frames in the order of their files.

        Raises:
            InputError: if a file is missing or ASE cannot read it, or if a frame lacks a label (it
                lists the keys that the frame has) or has one of another shape.
        """
        splits = {
            split: [
                _graph(frame, self.keys) for path in _matches(split, given) for frame in _read(path)
            ]
            for split, given in self.paths.items()
            if given is not None
        }
        if self.n_val:
            splits["train"], splits["val"] = self._carve(splits["train"])
        return splits

    def _carve(self, graphs: list[AtomicGraph]) -> tuple[list[AtomicGraph], list[AtomicGraph]]:
        if self.n_val >= len(graphs):
            raise InputError(
                f"n_val = {self.n_val} leaves nothing to train on: the training files hold "
                f"{len(graphs)} frames"
            )
        order = np.random.default_rng(self.seed).permutation(len(graphs))
        chosen = set(order[: self.n_val].tolist())
        rest = [graph for index, graph in enumerate(graphs) if index not in chosen]
        return rest, [graphs[index] for index in sorted(chosen)]


@dataclass(frozen=True)
class _Frame:
    atoms: Atoms
    name: str  # for messages: file and index


def _wanted(labels: str) -> list[str]:
    names = [name.strip() for name in labels.split(",") if name.strip()]
    for name in names:
        if name not in LABELS:
            raise InputError(f"labels: unknown '{name}'; {nearest(name, LABELS)}")
    return names


def _matches(split: str, given: str) -> list[Path]:
    """The files that a path or a pattern means, sorted by name."""
    path = Path(given).expanduser()
    if path.exists():
        return [path]
    found = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]
    if found:
        return found
    if not path.parent.is_dir():
        raise InputError(f"{split}: no file '{given}': there is no folder {path.parent}")
    there = nearest(path.name, (other.name for other in path.parent.iterdir()))
    raise InputError(f"{split}: no file '{given}' in {path.parent.resolve()}; {there}")


def _read(path: Path) -> list[_Frame]:
    # ASE's readers raise whatever their format's parser happens to raise.
    try:
        frames = read(path, index=":", do_not_split_by_at_sign=True)
    except Exception as error:
        raise InputError(f"ASE cannot read {path}: {type(error).__name__}: {error}") from error
    if not frames:
        raise InputError(f"{path} holds no frames")
    return [_Frame(atoms, f"{path}, frame {index}") for index, atoms in enumerate(frames)]


def _graph(frame: _Frame, keys: Mapping[str, str]) -> AtomicGraph:
    shapes = {"energy": (1,), "forces": (len(frame.atoms), 3), "stress": (1, 3, 3)}
    try:
        graph = graph_from_atoms(frame.atoms)
    except InputError as error:
        raise InputError(f"{frame.name}: {error}") from error
    labels = {}
    for label, key in keys.items():
        values = _label(frame, label, key)
        if label == "stress" and values.size == 6:
            values = values.reshape(6)[_FROM_VOIGT]
        if values.size != np.prod(shapes[label]):
            raise InputError(
                f"{frame.name}: {label} '{key}' has shape {values.shape}, not {shapes[label]}"
            )
        labels[label] = torch.from_numpy(values.reshape(shapes[label]).copy())
    return replace(graph, **labels)


def _label(frame: _Frame, label: str, key: str) -> NDArray[np.float64]:
    """A frame's value under `key`: of its calculator, else per frame, else per atom."""
    atoms = frame.atoms
    results = atoms.calc.results if atoms.calc is not None else {}
    for home in (results, atoms.info, atoms.arrays):
        if key in home:
            try:
                return np.asarray(home[key], dtype=np.float64)
            except (TypeError, ValueError) as error:
                raise InputError(f"{frame.name}: {label} '{key}' is not numbers") from error
    there = {*results, *atoms.info, *atoms.arrays}.difference(_STRUCTURE)
    raise InputError(f"{frame.name} has no {label} '{key}'; {nearest(key, there)}")
