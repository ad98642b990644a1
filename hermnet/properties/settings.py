"""What each property can be asked for; the command line reads its options here too.

Nothing heavy is imported, so that ``hermnet --help`` answers at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from hermnet.errors import InputError


@dataclass(frozen=True)
class RelaxSettings:
    """How a structure is brought to the nearest minimum.

    Attributes:
        cell: whether the cell relaxes too, along its periodic directions
        pressure: on a cell that relaxes, in GPa
        fmax: largest force that may be left, in eV/A
        steps: at most so many
        optimizer: FIRE is robust, BFGS and LBFGS take fewer steps near a minimum
        symmetry: whether the space group is kept; needs spglib
    """

    cell: bool = False
    pressure: float = 0.0
    fmax: float = 0.01
    steps: int = 500
    optimizer: Literal["fire", "bfgs", "lbfgs"] = "fire"
    symmetry: bool = False

    def __post_init__(self) -> None:
        _positive(fmax=self.fmax, steps=self.steps)
        if self.pressure and not self.cell:
            raise InputError("pressure acts on a cell that relaxes: set cell too")


@dataclass(frozen=True)
class EosSettings:
    """Which volumes make an equation of state.

    Attributes:
        span: largest change of the volume, as a fraction of it
        points: number of volumes
        relax: whether positions relax at each volume
        fmax: largest force that may be left, in eV/A
    """

    span: float = 0.06
    points: int = 11
    relax: bool = True
    fmax: float = 0.005

    def __post_init__(self) -> None:
        _positive(span=self.span, fmax=self.fmax)
        if not self.span < 0.5:
            raise InputError(f"span must be below 0.5, not {self.span}")
        if self.points < 5:
            raise InputError(
                f"points must be at least 5, not {self.points}: the fit has 4 unknowns"
            )


@dataclass(frozen=True)
class ElasticSettings:
    """How stress is differentiated.

    Attributes:
        strain: of the smaller of two strains to either side
        relax: whether positions relax at each strain; without, constants are clamped-ion
        fmax: largest force that may be left, in eV/A
    """

    strain: float = 0.004
    relax: bool = True
    fmax: float = 0.001

    def __post_init__(self) -> None:
        _positive(strain=self.strain, fmax=self.fmax)
        if not self.strain < 0.1:
            raise InputError(f"strain must be below 0.1, not {self.strain}")


@dataclass(frozen=True)
class PhononSettings:
    """Force constants and what is drawn of them.

    Attributes:
        supercell: repetitions of the cell; by default so many that each direction has 12 A
        displacement: of an atom, in A
        mesh: points per direction for the density of states
    """

    supercell: tuple[int, int, int] | None = None
    displacement: float = 0.01
    mesh: tuple[int, int, int] = (20, 20, 20)

    def __post_init__(self) -> None:
        _positive(displacement=self.displacement)
        for name, counts in (("supercell", self.supercell or (1, 1, 1)), ("mesh", self.mesh)):
            if min(counts) < 1:
                raise InputError(f"{name} must be three positive numbers, not {counts}")


@dataclass(frozen=True)
class RdfSettings:
    """How distances are counted.

    Attributes:
        r_max: largest distance, in A
        bins: their number
        skip: frames at the start that are left out
    """

    r_max: float = 8.0
    bins: int = 200
    skip: int = 0

    def __post_init__(self) -> None:
        _positive(r_max=self.r_max, bins=self.bins)
        _not_negative(skip=self.skip)


@dataclass(frozen=True)
class MsdSettings:
    """How displacements are followed.

    Attributes:
        interval: between frames in fs; by default from the frames
        skip: frames at the start that are left out
        start: of the slope that gives diffusion, as a share of the times shown
        end: of that slope
    """

    interval: float | None = None
    skip: int = 0
    start: float = 0.2
    end: float = 0.8

    def __post_init__(self) -> None:
        _positive(interval=1.0 if self.interval is None else self.interval)
        _not_negative(skip=self.skip)
        if not 0 <= self.start < self.end <= 1:
            raise InputError(
                f"start and end must be 0 <= start < end <= 1, not {self.start}, {self.end}"
            )


@dataclass(frozen=True)
class VdosSettings:
    """How velocities become a spectrum.

    Attributes:
        interval: between frames in fs; by default from the frames
        skip: frames at the start that are left out
        width: standard deviation of the Gaussian that smooths, in THz
    """

    interval: float | None = None
    skip: int = 0
    width: float = 0.2

    def __post_init__(self) -> None:
        _positive(interval=1.0 if self.interval is None else self.interval, width=self.width)
        _not_negative(skip=self.skip)


Ensemble = Literal["nve", "langevin", "nose-hoover", "npt", "npt-cell"]


@dataclass(frozen=True)
class DynamicsSettings:
    """A simulation of molecular dynamics.

    Attributes:
        ensemble: npt keeps the shape of the cell, npt-cell does not; both use Martyna-Tobias-Klein
        temperature: in K, also of the velocities where the structure has none
        final_temperature: in K, reached linearly at the last step; by default none
        pressure: in GPa, for npt and npt-cell
        timestep: in fs
        steps: number of steps, those before a restart included
        friction: of langevin, in 1/ps
        thermostat_time: of nose-hoover, npt and npt-cell, in fs
        barostat_time: of npt and npt-cell, in fs
        every: steps between frames and lines of the log
        save_every: steps between states from which a run can go on
        seed: of the velocities and of langevin
        max_disagreement: of a committee, largest standard deviation of a force in eV/A; by default
            any
        max_temperature: in K, beyond which atoms are said to fly apart
    """

    ensemble: Ensemble = "langevin"
    temperature: float = 300.0
    final_temperature: float | None = None
    pressure: float = 0.0
    timestep: float = 1.0
    steps: int = 1000
    friction: float = 10.0
    thermostat_time: float = 100.0
    barostat_time: float = 1000.0
    every: int = 10
    save_every: int = 100
    seed: int = 0
    max_disagreement: float | None = None
    max_temperature: float = 20_000.0

    def __post_init__(self) -> None:
        _positive(
            timestep=self.timestep,
            steps=self.steps,
            friction=self.friction,
            thermostat_time=self.thermostat_time,
            barostat_time=self.barostat_time,
            every=self.every,
            save_every=self.save_every,
            max_temperature=self.max_temperature,
        )
        if self.max_disagreement is not None:
            _positive(max_disagreement=self.max_disagreement)
        for name, kelvin in (
            ("temperature", self.temperature),
            ("final_temperature", self.final_temperature),
        ):
            least = 0.0 if self.ensemble in ("nve", "langevin") else 1e-3
            if kelvin is not None and not least <= kelvin < math.inf:
                raise InputError(f"{name} cannot be {kelvin} K")
        if self.final_temperature is not None and self.ensemble == "nve":
            raise InputError("nve has no thermostat that could follow final_temperature")
        if self.pressure and not self.has_barostat:
            raise InputError(f"{self.ensemble} has no barostat for a pressure; choose npt")
        _not_negative(seed=self.seed)

    @property
    def has_barostat(self) -> bool:
        """Whether the cell moves."""
        return self.ensemble in ("npt", "npt-cell")

    def temperature_at(self, step: int) -> float:
        """Of the thermostat at a step, in K."""
        if self.final_temperature is None:
            return self.temperature
        share = min(step / self.steps, 1.0)
        return self.temperature + share * (self.final_temperature - self.temperature)


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise InputError(f"{name} must be positive, not {value}")


def _not_negative(**values: int) -> None:
    for name, value in values.items():
        if value < 0:
            raise InputError(f"{name} must be 0 or more, not {value}")
