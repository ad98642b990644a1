"""Equations of state: how the energy depends on the volume."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, final

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.eos import EquationOfState as Fit
from ase.eos import birchmurnaghan
from numpy.typing import NDArray

from hermnet.data.progress import tracked
from hermnet.errors import InputError
from hermnet.properties.relaxation import relax_positions
from hermnet.properties.report import Report, picture, write_csv, write_frames, write_json
from hermnet.properties.settings import EosSettings
from hermnet.properties.structures import GPA, check_crystal, snapshot, with_calculator

Array = NDArray[np.float64]


@final
@dataclass(frozen=True)
class EquationOfState(Report):
    """Energies at several volumes and the Birch-Murnaghan fit through them.

    Attributes:
        settings: what was asked for.
        frames: the structures with their energies, by volume.
        volume: at the minimum, in A^3.
        energy: there, in eV.
        bulk_modulus: there, in GPa.
        derivative: of the bulk modulus by pressure, there.
        residual: root mean square of what the fit leaves, in eV.
    """

    files: ClassVar[tuple[str, ...]] = ("eos.csv", "eos.json", "eos.xyz", "eos.png")
    settings: EosSettings
    frames: tuple[Atoms, ...]
    volume: float
    energy: float
    bulk_modulus: float
    derivative: float
    residual: float

    @property
    def volumes(self) -> Array:
        """In A^3, (n_points,)."""
        return np.array([atoms.get_volume() for atoms in self.frames])

    @property
    def energies(self) -> Array:
        """In eV, (n_points,)."""
        return np.array([atoms.get_potential_energy() for atoms in self.frames])

    def fitted(self, volumes: Array) -> Array:
        """The fit's energies in eV at volumes in A^3."""
        modulus = self.bulk_modulus / GPA
        values: Array = birchmurnaghan(volumes, self.energy, modulus, self.derivative, self.volume)
        return values

    def lines(self) -> list[str]:
        """See `Report.lines`."""
        n_atoms = len(self.frames[0])
        return [
            f"volume {self.volume:.4f} A^3 ({self.volume / n_atoms:.4f} A^3/atom)",
            f"energy {self.energy:.6f} eV ({self.energy / n_atoms:.6f} eV/atom)",
            f"bulk modulus {self.bulk_modulus:.2f} GPa, its derivative {self.derivative:.2f}",
            f"the fit leaves {1e3 * self.residual / n_atoms:.2g} meV/atom",
        ]

    def write(self, folder: Path) -> None:
        """See `Report.write`."""
        volumes, energies = self.volumes, self.energies
        rows = zip(volumes.tolist(), energies.tolist(), self.fitted(volumes).tolist(), strict=True)
        write_csv(folder / "eos.csv", ("volume_A3", "energy_eV", "fit_eV"), rows)
        write_frames(folder / "eos.xyz", self.frames)
        content = {
            "n_atoms": len(self.frames[0]),
            "volume_A3": self.volume,
            "energy_eV": self.energy,
            "bulk_modulus_GPa": self.bulk_modulus,
            "bulk_modulus_derivative": self.derivative,
            "residual_eV": self.residual,
            "settings": asdict(self.settings),
        }
        write_json(folder / "eos.json", content)
        with picture(folder / "eos.png") as (axis,):
            fine = np.linspace(volumes[0], volumes[-1], 200)
            axis.plot(fine, self.fitted(fine) - self.energy, color="black", linewidth=0.8)
            axis.plot(volumes, energies - self.energy, "o")
            axis.set(xlabel="volume, A$^3$", ylabel="energy above the minimum, eV")
            axis.set_title(f"B = {self.bulk_modulus:.1f} GPa, V = {self.volume:.3f} A$^3$")


def equation_of_state(
    atoms: Atoms, calculator: Calculator, settings: EosSettings | None = None
) -> EquationOfState:
    """Scan volumes around that of a structure and fit Birch, Phys. Rev. 71, 809 (1947).

    The cell keeps its shape. The structure itself stays as it is.

    Args:
        atoms: a crystal near its minimum.
        calculator: energy and, where positions relax, forces.
        settings: which volumes.

    Raises:
        InputError: for a structure that is no crystal, or no minimum between the volumes.
    """
    chosen = settings or EosSettings()
    check_crystal(atoms, "an equation of state")
    volumes = atoms.get_volume() * np.linspace(1 - chosen.span, 1 + chosen.span, chosen.points)
    frames = []
    for volume in tracked(volumes, chosen.points, "volumes"):
        scaled = with_calculator(atoms, calculator)
        scaled.set_cell(atoms.cell * (volume / atoms.get_volume()) ** (1 / 3), scale_atoms=True)
        if chosen.relax:
            relax_positions(scaled, chosen.fmax)
        frames.append(snapshot(scaled))
    energies = np.array([frame.get_potential_energy() for frame in frames])
    energy, modulus, derivative, volume = _fit(volumes, energies)
    left = energies - birchmurnaghan(volumes, energy, modulus, derivative, volume)
    residual = float(np.sqrt(np.mean(left**2)))
    return EquationOfState(
        chosen, tuple(frames), volume, energy, modulus * GPA, derivative, residual
    )


def _fit(volumes: Array, energies: Array) -> tuple[float, float, float, float]:
    """Energy, bulk modulus in eV/A^3, its derivative and the volume at the minimum."""
    lowest = int(energies.argmin())
    if lowest in (0, len(volumes) - 1):
        side = "smallest" if lowest == 0 else "largest"
        raise InputError(
            f"no minimum between {volumes[0]:.2f} and {volumes[-1]:.2f} A^3, the {side} volume has "
            "the lowest energy: relax the cell first or give a larger span"
        )
    fit = Fit(volumes, energies, eos="birchmurnaghan")
    try:
        fit.fit(warn=False)
    except RuntimeError as error:
        raise InputError(f"no equation of state fits these energies: {error}") from error
    energy, modulus, derivative, volume = (float(x) for x in fit.eos_parameters)
    return energy, modulus, derivative, volume
