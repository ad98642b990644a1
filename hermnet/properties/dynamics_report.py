"""What the log of a simulation says in a few numbers and a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from hermnet.properties.dynamics_log import read_thermo
from hermnet.properties.report import Report, picture, write_json
from hermnet.properties.settings import DynamicsSettings

Array = NDArray[np.float64]


@final
@dataclass(frozen=True)
class DynamicsSummary(Report):
    """A simulation as a whole; averages leave its first half out.

    Attributes:
        thermo: the columns of the log.
        n_atoms: number of atoms.
        settings: of the simulation.
    """

    files: ClassVar[tuple[str, ...]] = ("md.json", "md.png")
    thermo: dict[str, Array]
    n_atoms: int
    settings: DynamicsSettings

    @classmethod
    def read(cls, path: Path, n_atoms: int, settings: DynamicsSettings) -> DynamicsSummary:
        """From the log."""
        return cls(read_thermo(path), n_atoms, settings)

    @property
    def drift(self) -> float | None:
        """Slope of the conserved energy in meV/atom/ps; None where nothing is conserved."""
        energies, times = self.thermo["conserved_energy_eV"], self.thermo["time_fs"]
        ramped = self.settings.final_temperature is not None
        if len(times) < 2 or ramped or not np.isfinite(energies).all():
            return None
        return float(np.polyfit(times, energies, 1)[0] * 1e6 / self.n_atoms)

    def averages(self) -> dict[str, float]:
        """Of every column that is there, over the second half."""
        half = {name: values[len(values) // 2 :] for name, values in self.thermo.items()}
        return {
            name: float(values.mean())
            for name, values in half.items()
            if name not in ("step", "time_fs") and np.isfinite(values).all()
        }

    def lines(self) -> list[str]:
        """See `Report.lines`."""
        means, times = self.averages(), self.thermo["time_fs"]
        lines = [f"{times[-1]:g} fs of {self.settings.ensemble}; averages of the second half:"]
        lines.append(f"temperature {means['temperature_K']:.1f} K")
        lines.append(f"potential energy {means['potential_energy_eV']:.6f} eV")
        if "pressure_GPa" in means:
            lines.append(f"pressure {means['pressure_GPa']:.3f} GPa")
        if self.settings.has_barostat:
            lines.append(f"volume {means['volume_A3']:.3f} A^3")
        if self.drift is not None:
            lines.append(f"drift of the conserved energy {self.drift:.2g} meV/atom/ps")
        return lines

    def write(self, folder: Path) -> None:
        """See `Report.write`."""
        content: dict[str, Any] = {
            "n_atoms": self.n_atoms,
            "time_fs": float(self.thermo["time_fs"][-1]),
            "drift_meV_per_atom_per_ps": self.drift,
            "averages_of_second_half": self.averages(),
        }
        write_json(folder / "md.json", content)
        times = self.thermo["time_fs"] / 1e3
        shown = ["temperature_K", "potential_energy_eV"]
        shown += ["conserved_energy_eV"] if self.drift is not None else []
        shown += ["volume_A3"] if self.settings.has_barostat else []
        shown += ["largest_forces_std_eV_per_A"] if self._committee else []
        with picture(folder / "md.png", len(shown)) as axes:
            for axis, name in zip(axes, shown, strict=True):
                axis.plot(times, self.thermo[name], linewidth=0.8)
                what, _, unit = name.rpartition("_") if "_per_" not in name else (name[:-9], "", "")
                axis.set(xlabel="time, ps", ylabel=f"{what.replace('_', ' ')}, {unit or 'eV/A'}")
                axis.ticklabel_format(axis="y", useOffset=False)

    @property
    def _committee(self) -> bool:
        return bool(np.isfinite(self.thermo["largest_forces_std_eV_per_A"]).all())
