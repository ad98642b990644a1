"""Structures to compute: read from files, and with what a calculator says of them."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator, PropertyNotImplementedError
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import covalent_radii
from numpy.typing import NDArray

from hermnet.derivatives import edge_vectors
from hermnet.errors import InputError
from hermnet.neighbors import graph_from_atoms

Array = NDArray[np.float64]
GPA = 1 / units.GPa  # GPa per eV/A^3
_OVERLAP = 0.4  # of the sum of covalent radii, which is the length of a bond


def read_structure(path: str | Path) -> Atoms:
    """The structure in a file of any format that ASE reads, the last one of several.

    Args:
        path: the file; ``file.xyz@3`` is its fourth structure.

    Raises:
        InputError: if there is none.
    """
    frames = read_frames(path, last_only=True)
    return frames[0]


def read_frames(path: str | Path, last_only: bool = False) -> list[Atoms]:
    """All structures in a file of any format that ASE reads.

    Args:
        path: the file; ``file.xyz@::10`` is every tenth structure.
        last_only: whether to read the last one only.

    Raises:
        InputError: if there is none.
    """
    # an index in the name counts only where no other is given
    index = None if "@" in Path(path).name else (-1 if last_only else ":")
    frames: list[Atoms] = []
    try:
        for frame in ase.io.iread(path, index=index):
            frames.append(frame)
    except FileNotFoundError as error:
        raise InputError(f"there is no file {path}") from error
    except Exception as error:  # each of ASE's readers fails in its own way
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if not frames:
            raise InputError(f"{path} cannot be read: {reason}") from error
        warnings.warn(
            f"{path} is cut off or damaged: read the {len(frames)} frames before that ({reason})",
            stacklevel=2,
        )
    if not frames or not len(frames[0]):
        raise InputError(f"{path} holds no atoms")
    return frames[-1:] if last_only else frames


def check_structure(atoms: Atoms) -> None:
    """Refuse what no potential should be asked about, before anything is computed.

    Raises:
        InputError: for positions or a cell that are not finite, periodic directions without a
            lattice vector, or atoms that overlap.
    """
    graph = graph_from_atoms(atoms, _OVERLAP * 2 * float(covalent_radii[atoms.numbers].max()))
    if not graph.n_edges:
        return
    lengths = edge_vectors(graph).norm(dim=1).numpy()
    ends = np.stack([graph.centers.numpy(), graph.neighbors.numpy()])  # (2, n_edges)
    ratios = lengths / covalent_radii[atoms.numbers[ends]].sum(axis=0)
    worst = int(ratios.argmin())
    if ratios[worst] < _OVERLAP:
        one, other = (f"{k} ({atoms.symbols[k]})" for k in ends[:, worst].tolist())
        raise InputError(
            f"atoms {one} and {other} are {lengths[worst]:.3g} A apart: they overlap, or the "
            "lengths in the file are not in A"
        )


def with_calculator(atoms: Atoms, calculator: Calculator) -> Atoms:
    """A copy of a structure to compute with."""
    copy: Atoms = atoms.copy()
    copy.calc = calculator
    return copy


def snapshot(atoms: Atoms) -> Atoms:
    """A copy that keeps energy, forces and, where there is one, stress."""
    copy: Atoms = atoms.copy()
    results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
    stress = stress_of(atoms)
    if stress is not None:
        results["stress"] = stress
    copy.calc = SinglePointCalculator(copy, **results)
    return copy


def stress_of(atoms: Atoms) -> Array | None:
    """The stress, xx yy zz yz xz xy in eV/A^3, or None where there is no volume or no stress."""
    if atoms.cell.rank < 3:
        return None
    try:
        stress: Array = atoms.get_stress(apply_constraint=False)
    except PropertyNotImplementedError:
        return None
    return stress


def largest_force(atoms: Atoms) -> float:
    """Length of the largest force in eV/A, those on fixed atoms left out."""
    return math.sqrt(float((atoms.get_forces() ** 2).sum(axis=1).max()))


def check_crystal(atoms: Atoms, purpose: str) -> None:
    """Refuse what is not periodic in three directions.

    Raises:
        InputError: which names the purpose.
    """
    if not atoms.pbc.all():
        raise InputError(
            f"{purpose} needs a structure that is periodic in three directions, not {atoms.pbc}"
        )
    if atoms.cell.rank < 3:
        raise InputError(f"{purpose} needs a cell with a volume, not {atoms.cell.array.tolist()}")
