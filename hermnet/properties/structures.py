"""Structures to compute: read from files, and with what a calculator says of them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator, PropertyNotImplementedError
from ase.calculators.singlepoint import SinglePointCalculator
from numpy.typing import NDArray

from hermnet.errors import InputError

Array = NDArray[np.float64]
GPA = 1 / units.GPa  # GPa per eV/A^3


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
    try:
        found: Any = ase.io.read(path, index=index)
    except FileNotFoundError as error:
        raise InputError(f"there is no file {path}") from error
    except Exception as error:  # each of ASE's readers fails in its own way
        reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise InputError(f"{path} cannot be read: {reason[0]}") from error
    frames = [found] if isinstance(found, Atoms) else list(found)
    if not frames or not len(frames[0]):
        raise InputError(f"{path} holds no atoms")
    return frames[-1:] if last_only else frames


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
