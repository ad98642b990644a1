"""A data set and a recipe so small that a fit takes a second."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import yaml
from ase import Atoms
from ase.build import bulk
from ase.build import molecule as ase_molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from hermnet.recipes.config import Recipe, resolve

N_FRAMES = {"train": 8, "val": 2, "test": 2}


def labelled(atoms: Atoms, *, forces: bool = True, stress: bool = False) -> Atoms:
    """The structure with energy and forces of ASE's effective medium theory."""
    atoms.calc = EMT()
    results = {"energy": atoms.get_potential_energy()}
    if forces:
        results["forces"] = atoms.get_forces()
    if stress:
        results["stress"] = atoms.get_stress()
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def methanol(seed: int, *, forces: bool = True) -> Atoms:
    """A distorted CH3OH with labels."""
    atoms = ase_molecule("CH3OH")
    atoms.rattle(0.05, seed=seed)
    return labelled(atoms, forces=forces)


def alloy(seed: int) -> Atoms:
    """A distorted periodic Cu3Au with energy, forces and stress."""
    atoms = bulk("Cu", cubic=True, a=3.75)
    atoms.symbols[0] = "Au"
    atoms.set_cell(atoms.cell @ (np.eye(3) + 0.02 * np.eye(3, k=1)), scale_atoms=True)
    atoms.rattle(0.05, seed=seed)
    return labelled(atoms, stress=True)


def write(path: Path, frames: Sequence[Atoms]) -> Path:
    """Frames as extended xyz."""
    ase.io.write(path, frames, format="extxyz")
    return path


def data(folder: Path) -> Path:
    """Twelve frames of methanol as train.xyz, val.xyz and test.xyz."""
    folder.mkdir(parents=True, exist_ok=True)
    start = 0
    for split, n_frames in N_FRAMES.items():
        write(folder / f"{split}.xyz", [methanol(start + k) for k in range(n_frames)])
        start += n_frames
    return folder


def recipe_file(folder: Path, data_folder: Path, splits: Sequence[str] = tuple(N_FRAMES)) -> Path:
    """A recipe for that data, whose run lies in ``folder/run``."""
    files = {split: str(data_folder / f"{split}.xyz") for split in splits}
    return written(
        folder,
        {"name": "extxyz", **files, "batch_size": 3},
        {
            "subnet": "painn",
            "relations": "vertex",
            "cutoff": 3.0,
            "n_channels": 4,
            "n_layers": 1,
            "n_radial": 4,
        },
        {"forces_weight": 10},
    )


def written(
    folder: Path, data: dict[str, Any], model: dict[str, Any], training: dict[str, Any]
) -> Path:
    """A recipe of these sections for two quick epochs, whose run lies in ``folder/run``."""
    tree = {
        "data": data,
        "model": model,
        "training": {
            **training,
            "optimizer": {"class_path": "torch.optim.AdamW", "lr": 0.01},
        },
        "trainer": {
            "max_epochs": 2,
            "accelerator": "cpu",
            "enable_progress_bar": False,
            "default_root_dir": str(folder / "run"),
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    return path


def recipe(folder: Path, data_folder: Path, *overrides: str) -> Recipe:
    """The same, resolved with overrides."""
    return resolve(str(recipe_file(folder, data_folder)), overrides)
