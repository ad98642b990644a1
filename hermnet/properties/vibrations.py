"""The vibrational density of states from velocities."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from hermnet.errors import InputError
from hermnet.properties.report import Report, picture, write_csv, write_json
from hermnet.properties.settings import VdosSettings
from hermnet.properties.trajectories import Trajectory

Array = NDArray[np.float64]
ALL = "all"
_PER_CM = 33.35641  # 1/cm in a THz


@final
@dataclass(frozen=True)
class VibrationalDensity(Report):
    """Power spectrum of the mass-weighted velocities.

    Attributes:
        settings: what was asked for.
        frequencies: in THz, (n,).
        densities: of ``all`` atoms, which integrates to one, and its parts by element; each (n,),
            in 1/THz.
    """

    files: ClassVar[tuple[str, ...]] = ("vdos.csv", "vdos.json", "vdos.png")
    settings: VdosSettings
    frequencies: Array
    densities: dict[str, Array]

    @property
    def peak(self) -> float:
        """Where the density is highest, in THz."""
        return float(self.frequencies[self.densities[ALL].argmax()])

    def lines(self) -> list[str]:
        """See `Report.lines`."""
        mean = float(np.average(self.frequencies, weights=self.densities[ALL]))
        return [
            f"highest at {self.peak:.3f} THz ({self.peak * _PER_CM:.1f} 1/cm), mean {mean:.3f} THz",
            f"resolved to {self.frequencies[1]:.3g} THz, up to {self.frequencies[-1]:.3g} THz",
        ]

    def write(self, folder: Path) -> None:
        """See `Report.write`."""
        columns = [self.frequencies, self.frequencies * _PER_CM, *self.densities.values()]
        names = [f"{name}_per_THz" for name in self.densities]
        rows = np.stack(columns, axis=1).tolist()
        write_csv(folder / "vdos.csv", ("frequency_THz", "wavenumber_per_cm", *names), rows)
        content = {"peak_THz": self.peak, "settings": asdict(self.settings)}
        write_json(folder / "vdos.json", content)
        with picture(folder / "vdos.png") as (axis,):
            for name, values in self.densities.items():
                axis.plot(self.frequencies, values, label=name, linewidth=1.0)
            above = np.flatnonzero(self.densities[ALL] > 1e-3 * self.densities[ALL].max())
            axis.set_xlim(0, self.frequencies[above[-1]] * 1.1)
            axis.set(xlabel="frequency, THz", ylabel="density of states, 1/THz")
            axis.legend(frameon=False)


def vibrational_density(
    trajectory: Trajectory, settings: VdosSettings | None = None
) -> VibrationalDensity:
    """Fourier transform of the velocities' autocorrelation (Wiener and Khinchin).

    Frequencies go up to half of one over the time between frames; frames should follow each other
    within a few fs. A Gaussian smooths.

    Args:
        trajectory: with velocities.
        settings: how much is smoothed.

    Raises:
        InputError: if frames have no velocities, or none besides that of the whole.
    """
    chosen = settings or VdosSettings()
    velocities = trajectory.velocities()
    masses = trajectory.frames[0].get_masses()
    velocities -= np.einsum("tij,i->tj", velocities, masses)[:, None] / masses.sum()
    n = len(velocities)
    window = np.hanning(n + 2)[1:-1]  # a frequency leaks into its neighbors only
    spectrum = np.abs(np.fft.rfft(velocities * window[:, None, None], 2 * n, axis=0)) ** 2
    power = spectrum.sum(axis=2) * masses  # (n_frequencies, n_atoms)
    frequencies = np.arange(n + 1, dtype=np.float64) / (2 * n * trajectory.interval * 1e-3)
    parts = {ALL: power.sum(axis=1)}
    if len(trajectory.symbols) > 1:
        for name in trajectory.symbols:
            parts[name] = power[:, trajectory.mask(name)].sum(axis=1)
    smooth = {name: _smoothed(values, frequencies, chosen.width) for name, values in parts.items()}
    total = np.trapezoid(smooth[ALL], frequencies)
    if not total > 0:
        raise InputError("no atom moves besides the structure as a whole: there are no vibrations")
    return VibrationalDensity(
        chosen, frequencies, {name: values / total for name, values in smooth.items()}
    )


def _smoothed(values: Array, frequencies: Array, width: float) -> Array:
    """Under a Gaussian with this standard deviation in THz, mirrored at zero."""
    spacing = frequencies[1]
    reach = min(int(4 * width / spacing), len(values) - 1)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * spacing / width) ** 2)
    padded = np.pad(values, reach, mode="reflect")
    result: Array = np.convolve(padded, kernel / kernel.sum(), mode="valid")
    return result
