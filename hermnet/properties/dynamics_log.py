"""The growing files of a simulation: frames and a table of its thermodynamics."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import ase.io
import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from hermnet.errors import InputError
from hermnet.properties.structures import GPA, snapshot

TRAJECTORY, THERMO = "trajectory.xyz", "thermo.csv"
COLUMNS = (
    "step",
    "time_fs",
    "temperature_K",
    "potential_energy_eV",
    "kinetic_energy_eV",
    "conserved_energy_eV",
    "volume_A3",
    "pressure_GPa",
    "energy_std_eV",
    "largest_forces_std_eV_per_A",
)


class Log:
    """Appends frames and rows; use it in a `with` block.

    Args:
        folder: where the files lie.
        sizes: how much of each file counts, in bytes; what follows is cut off.

    Raises:
        InputError: if a file is shorter than that.
    """

    def __init__(self, folder: Path, sizes: Mapping[str, int] | None = None) -> None:
        self._files: dict[str, TextIO] = {}
        for name in (TRAJECTORY, THERMO):
            path, size = folder / name, (sizes or {}).get(name, 0)
            if size and (not path.is_file() or path.stat().st_size < size):
                raise InputError(f"{path} was cut or replaced; the simulation cannot go on in it")
            file = path.open("a", encoding="utf-8", newline="")
            file.truncate(size)
            self._files[name] = file
        self._table = csv.writer(self._files[THERMO])
        if not sizes:
            self._table.writerow(COLUMNS)

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()

    def add(self, atoms: Atoms, step: int, time: float, conserved: float | None) -> None:
        """Append the present state.

        Args:
            atoms: with a calculator.
            step: number of the step.
            time: in fs.
            conserved: in eV, where something is conserved.
        """
        frame = snapshot(atoms)
        frame.info = {"step": step, "time": time}
        values = _row(atoms, frame, conserved)
        frame.set_constraint()
        ase.io.write(self._files[TRAJECTORY], frame, format="extxyz")
        self._table.writerow((step, time, *values))

    def sizes(self) -> dict[str, int]:
        """Bytes of each file, which are on the disk when this returns."""
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        return {name: os.fstat(file.fileno()).st_size for name, file in self._files.items()}


def _row(atoms: Atoms, frame: Atoms, conserved: float | None) -> tuple[Any, ...]:
    """All columns but the first two, the energy and stress taken from a frame."""
    results, solid = atoms.calc.results, atoms.cell.rank == 3
    pressure = None
    if "stress" in frame.calc.results:
        stress = frame.get_stress(include_ideal_gas=True)
        pressure = float(-stress[:3].mean() * GPA)
    return (
        float(frame.get_temperature()),
        float(frame.calc.results["energy"]),
        float(frame.get_kinetic_energy()),
        conserved,
        float(frame.get_volume()) if solid else None,
        pressure,
        results.get("energy_std"),
        disagreement(results)[0] if "forces_std" in results else None,
    )


def disagreement(results: Mapping[str, Any]) -> tuple[float, int]:
    """The largest standard deviation of a force in eV/A, and on which atom; 0 of a single model."""
    if "forces_std" not in results:
        return 0.0, 0
    lengths = np.linalg.norm(results["forces_std"], axis=1)
    return float(lengths.max()), int(lengths.argmax())


def read_thermo(path: Path) -> dict[str, NDArray[np.float64]]:
    """The columns of a table, NaN where it is empty."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([float(row[name] or "nan") for row in rows]) for name in COLUMNS}
