"""Relaxing positions and cells to the nearest minimum of energy or enthalpy."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS, FIRE, LBFGS

from hermnet.data.progress import tracked
from hermnet.errors import InputError
from hermnet.properties.report import Report, picture, write_csv, write_frames, write_json
from hermnet.properties.settings import RelaxSettings
from hermnet.properties.structures import (
    GPA,
    check_crystal,
    largest_force,
    snapshot,
    stress_of,
    with_calculator,
)

_OPTIMIZERS = {"fire": FIRE, "bfgs": BFGS, "lbfgs": LBFGS}


@final
@dataclass(frozen=True)
class Relaxation(Report):
    """The way to a minimum.

    Attributes:
        settings: what was asked for.
        frames: the structures on the way with their energy, forces and stress.
        converged: whether the last one is as near to the minimum as was asked for.
    """

    files: ClassVar[tuple[str, ...]] = (
        "relaxed.xyz",
        "path.xyz",
        "relaxation.csv",
        "relaxation.json",
        "relaxation.png",
    )
    settings: RelaxSettings
    frames: tuple[Atoms, ...]
    converged: bool

    @property
    def atoms(self) -> Atoms:
        """The relaxed structure."""
        return self.frames[-1]

    @property
    def steps(self) -> int:
        """How many were taken."""
        return len(self.frames) - 1

    def rows(self) -> list[tuple[Any, ...]]:
        """Step, energy, largest force, volume and pressure of every frame, None without a cell."""
        rows: list[tuple[Any, ...]] = []
        for step, atoms in enumerate(self.frames):
            stress = stress_of(atoms)
            pressure = None if stress is None else float(-stress[:3].mean() * GPA)
            volume = float(atoms.get_volume()) if atoms.cell.rank == 3 else None
            energy = float(atoms.get_potential_energy())
            rows.append((step, energy, largest_force(atoms), volume, pressure))
        return rows

    def lines(self) -> list[str]:
        """See `Report.lines`."""
        first, last = self.rows()[0], self.rows()[-1]
        state = "converged" if self.converged else "NOT converged"
        lines = [
            f"{state} after {self.steps} steps, largest force {last[2]:.2g} eV/A",
            f"energy {last[1]:.6f} eV, {last[1] - first[1]:+.6f} eV from the start",
        ]
        if last[3] is not None:
            lines.append(f"volume {last[3]:.4f} A^3, {last[3] / first[3] - 1:+.3%}")
        return lines

    def write(self, folder: Path) -> None:
        """See `Report.write`."""
        rows = self.rows()
        write_frames(folder / "relaxed.xyz", [self.atoms])
        write_frames(folder / "path.xyz", self.frames)
        columns = ("step", "energy_eV", "largest_force_eV_per_A", "volume_A3", "pressure_GPa")
        write_csv(folder / "relaxation.csv", columns, rows)
        content = {
            "converged": self.converged,
            "steps": self.steps,
            "energy_eV": rows[-1][1],
            "largest_force_eV_per_A": rows[-1][2],
            "cell_A": self.atoms.cell.array.tolist(),
            "settings": asdict(self.settings),
        }
        write_json(folder / "relaxation.json", content)
        steps, energies, forces = (np.array(column) for column in list(zip(*rows, strict=True))[:3])
        with picture(folder / "relaxation.png", 2) as (left, right):
            left.plot(steps, energies - energies[-1])
            left.set(xlabel="step", ylabel="energy above the last, eV")
            right.plot(steps, forces)
            right.axhline(self.settings.fmax, color="black", linewidth=0.8, linestyle="--")
            right.set(xlabel="step", ylabel="largest force, eV/A")
            if (forces > 0).all():
                right.set_yscale("log")


def relax(
    atoms: Atoms, calculator: Calculator, settings: RelaxSettings | None = None
) -> Relaxation:
    """Relax a structure, which itself stays as it is.

    With a cell the coordinates are those of Tadmor et al., Phys. Rev. B 59, 235 (1999), in ASE's
    `FrechetCellFilter`. Constraints of the structure, such as fixed atoms, hold.

    Args:
        atoms: the structure.
        calculator: energy, forces and, for a cell, stress.
        settings: what to relax and how far.

    Raises:
        InputError: for a cell to relax that has no volume or is not periodic, or symmetry without
            spglib.
    """
    chosen = settings or RelaxSettings()
    moving = with_calculator(atoms, calculator)
    if chosen.cell:
        _check_cell(moving)
    if chosen.symmetry:
        _keep_symmetry(moving)
    target: Any = moving
    if chosen.cell:
        mask = np.outer(moving.pbc, moving.pbc)
        target = FrechetCellFilter(moving, mask=mask, scalar_pressure=chosen.pressure / GPA)
    optimizer = _OPTIMIZERS[chosen.optimizer](target, logfile=None)
    path, converged = [], False
    run = optimizer.irun(fmax=chosen.fmax, steps=chosen.steps)
    for reached in tracked(run, chosen.steps + 1, "relaxing"):
        converged = bool(reached)
        path.append(snapshot(moving))
    for frame in path:
        frame.set_constraint(atoms.constraints)
    return Relaxation(chosen, tuple(path), converged)


def relax_positions(atoms: Atoms, fmax: float, steps: int = 1000) -> None:
    """Relax the positions of a structure in place, quietly.

    Args:
        atoms: with a calculator.
        fmax: in eV/A.
        steps: at most.

    Raises:
        InputError: if that is not enough.
    """
    if not FIRE(atoms, logfile=None).run(fmax=fmax, steps=steps):
        raise InputError(
            f"positions do not relax to {fmax} eV/A within {steps} steps, a force of "
            f"{largest_force(atoms):.2g} eV/A is left: start from a relaxed structure or "
            "give a larger fmax"
        )


def _check_cell(atoms: Atoms) -> None:
    if not atoms.pbc.any():
        raise InputError("a structure without periodic directions has no cell to relax")
    if atoms.cell.rank < 3:
        check_crystal(atoms, "relaxing the cell")


def _keep_symmetry(atoms: Atoms) -> None:
    try:
        import spglib  # noqa: F401
    except ImportError as error:
        raise InputError(
            'keeping the symmetry needs spglib: pip install "hermnet[phonons]"'
        ) from error
    from ase.constraints import FixSymmetry

    atoms.set_constraint([*atoms.constraints, FixSymmetry(atoms)])
