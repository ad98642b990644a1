"""Mean square displacements and diffusion."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from hermnet.properties.report import Report, picture, write_csv, write_json
from hermnet.properties.settings import MsdSettings
from hermnet.properties.trajectories import Trajectory

Array = NDArray[np.float64]
ALL = "all"
_TO_CM2_PER_S = 0.1  # from A^2/fs


@final
@dataclass(frozen=True)
class Displacement(Report):
    """How far atoms get in a time.

    Attributes:
        settings: what was asked for.
        times: in fs, (n_lags,).
        squares: mean square displacement in A^2 by element, and of ``all``; each (n_lags,).
    """

    files: ClassVar[tuple[str, ...]] = ("msd.csv", "msd.json", "msd.png")
    settings: MsdSettings
    times: Array
    squares: dict[str, Array]

    def diffusion(self, element: str = ALL) -> float:
        """Diffusion coefficient in cm^2/s: a sixth of the slope between two shares of the times.

        Einstein's relation holds where the displacement grows linearly, which the picture shows.
        """
        first, last = (
            round(x * (len(self.times) - 1)) for x in (self.settings.start, self.settings.end)
        )
        rows = slice(first, max(last, first + 1) + 1)
        slope = np.polyfit(self.times[rows], self.squares[element][rows], 1)[0]
        return float(slope / 6 * _TO_CM2_PER_S)

    def lines(self) -> list[str]:
        """See `Report.lines`."""
        return [
            f"{name}: {values[-1]:.4g} A^2 after {self.times[-1]:g} fs, "
            f"D = {self.diffusion(name):.3g} cm^2/s"
            for name, values in self.squares.items()
        ]

    def write(self, folder: Path) -> None:
        """See `Report.write`."""
        columns = np.stack([self.times, *self.squares.values()], axis=1)
        names = [f"{name}_A2" for name in self.squares]
        write_csv(folder / "msd.csv", ("time_fs", *names), columns.tolist())
        content = {
            "diffusion_cm2_per_s": {name: self.diffusion(name) for name in self.squares},
            "settings": asdict(self.settings),
        }
        write_json(folder / "msd.json", content)
        with picture(folder / "msd.png") as (axis,):
            for name, values in self.squares.items():
                axis.plot(
                    self.times / 1e3,
                    values,
                    label=f"{name}, D = {self.diffusion(name):.2g} cm$^2$/s",
                )
            axis.set(xlabel="time, ps", ylabel="mean square displacement, A$^2$")
            axis.legend(frameon=False)


def mean_square_displacement(
    trajectory: Trajectory, settings: MsdSettings | None = None
) -> Displacement:
    """Average over atoms and over all pairs of frames that are as far apart in time.

    The whole is at rest: its center of mass is taken out. Up to half the trajectory's length is
    shown, beyond which too few pairs remain.

    Args:
        trajectory: positions and times.
        settings: where the slope is taken.
    """
    chosen = settings or MsdSettings()
    positions = trajectory.unwrapped()
    squares = _squares(positions)[: len(positions) // 2 + 1]  # (n_lags, n_atoms)
    by_name = {ALL: squares.mean(axis=1)}
    if len(trajectory.symbols) > 1:
        for name in trajectory.symbols:
            by_name[name] = squares[:, trajectory.mask(name)].mean(axis=1)
    return Displacement(chosen, trajectory.times[: len(squares)], by_name)


def _squares(positions: Array) -> Array:
    """Mean square displacements (n_frames, n_atoms) for every time between frames, by FFT.

    Kneller et al., Comput. Phys. Commun. 91, 191 (1995): ``<|r(t+s) - r(t)|^2>`` is a running sum
    of squares less twice the autocorrelation.
    """
    n = len(positions)
    transformed = np.fft.rfft(positions - positions[0], 2 * n, axis=0)
    products = np.fft.irfft(np.abs(transformed) ** 2, 2 * n, axis=0)[:n].sum(axis=2)
    squares = ((positions - positions[0]) ** 2).sum(axis=2)
    heads = np.concatenate([np.zeros((1, squares.shape[1])), np.cumsum(squares, axis=0)])
    lags = np.arange(n)
    # sum over t of |r(t)|^2 + |r(t+s)|^2, t from 0 to n - s - 1
    sums = heads[n - lags] + heads[n] - heads[lags]
    result: Array = (sums - 2 * products) / (n - lags)[:, None]
    return np.maximum(result, 0.0)
