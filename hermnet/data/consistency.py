"""`Verdict` and `Check`: what a comparison of labels with labels says, and why."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hermnet.units import to_internal

Array = NDArray[Any]
_WEAK_BLUR = 1.5  # factor within which causes look alike where the correlation is weak
_SHOWN = 3  # causes that are named where several would do


class Verdict(StrEnum):
    """The outcome of a check."""

    OK = "ok"
    SUSPICIOUS = "suspicious"
    NOT_CONCLUSIVE = "not conclusive"


@dataclass(frozen=True)
class Fit:
    """A line through the origin.

    Attributes:
        slope: size of y over size of x, negative where they run against each other. Unlike a
            regression, errors in x do not flatten it.
        correlation: cosine between x and y, -1 to 1.
        n_points: how many points there were.
    """

    slope: float
    correlation: float
    n_points: int

    @classmethod
    def of(cls, x: Array, y: Array) -> Fit:
        """Fit y (n,) to x (n,)."""
        xx, yy, xy = float(x @ x), float(y @ y), float(x @ y)
        if xx == 0 or yy == 0:
            return cls(0.0, 0.0, len(x))
        return cls(math.copysign(math.sqrt(yy / xx), xy), xy / math.sqrt(xx * yy), len(x))

    def __str__(self) -> str:
        """Slope and correlation in words."""
        return f"slope {self.slope:.3g}, correlation {self.correlation:.3f}"


@dataclass(frozen=True)
class Check:
    """One comparison within one split.

    Attributes:
        name: what was compared with what.
        split: where.
        verdict: the outcome.
        text: figures, and what they look like or why they say nothing.
        expected: (n,) what one label lets expect of the other, for a picture.
        labelled: (n,) the other label.
        fit: the line through them.
    """

    name: str
    split: str
    verdict: Verdict
    text: str
    expected: Array = field(default_factory=lambda: np.zeros(0))
    labelled: Array = field(default_factory=lambda: np.zeros(0))
    fit: Fit | None = None


@dataclass(frozen=True)
class Causes:
    """Which faults give which slope.

    Attributes:
        flipped: words for a slope of the wrong sign.
        factors: slope that a fault gives, by the words for the fault.
    """

    flipped: str
    factors: Mapping[str, float]

    def name(self, slope: float, tolerance: float, blur: float) -> str:
        """Say what a slope looks like.

        Args:
            slope: the slope; 1 would be right.
            tolerance: factor by which the slope may be off.
            blur: factor within which causes cannot be told apart.
        """
        found = [self.flipped] if slope < 0 else []
        size = abs(slope)
        if not 1 / tolerance <= size <= tolerance:
            off = {words: abs(math.log(size / f)) for words, f in self.factors.items()}
            nearest = min(off.values())
            if nearest <= math.log(tolerance):
                alike = [w for w, distance in off.items() if distance - nearest < math.log(blur)]
                found.append(" or ".join(sorted(alike, key=off.__getitem__)[:_SHOWN]))
            else:
                found.append("no mix-up of units that is known here")
        return ", and ".join(found)


def energy_factors(n_atoms: float) -> dict[str, float]:
    """Factors of energies over forces or stress when energies were read in the wrong unit."""
    units = {"kcal/mol": "kcal/mol", "kJ/mol": "kJ/mol", "Hartree": "Hartree", "Ry": "Rydberg"}
    factors = {
        f"energies in {name} read as eV": 1 / to_internal("energy", unit)
        for unit, name in units.items()
    }
    factors["energies in meV read as eV"] = 1 / to_internal("energy", "meV")
    if n_atoms > 1:
        factors["energies per atom read as energies of the whole frame"] = 1 / n_atoms
    return factors


def forces_factors() -> dict[str, float]:
    """Factors of energies or stress over forces when forces were read in the wrong unit."""
    units = ("kcal/mol/A", "kJ/mol/A", "meV/A", "eV/Bohr", "Hartree/Bohr", "Ry/Bohr")
    factors = {f"forces in {u} read as eV/A": to_internal("forces", u) for u in units}
    factors["positions in Bohr read as A"] = to_internal("length", "Bohr")
    return factors


def stress_factors(volume: float) -> dict[str, float]:
    """Factors of stress over energies or forces when the stress was read in the wrong unit."""
    gpa, kbar = to_internal("stress", "GPa"), to_internal("stress", "kbar")
    return {
        "stress in kbar read as GPa": gpa / kbar,
        "stress in GPa read as kbar": kbar / gpa,
        "stress in GPa read as eV/A^3": 1 / gpa,
        "stress in kbar read as eV/A^3": 1 / kbar,
        "stress in eV/A^3 read as GPa": gpa,
        "stress in eV/A^3 read as kbar": kbar,
        "virial (stress times volume) in eV read as stress": volume,
    }


@dataclass(frozen=True)
class Scale:
    """How exact a comparison is.

    Attributes:
        trusted: correlation from which the slope is believed; from three quarters of it, only a
            wrong sign and factors above `far` are.
        near: factor by which the slope may be off when all is well.
        far: factor by which it must be off to be called wrong.
        blur: factor within which causes cannot be told apart, if the slope is believed.
    """

    trusted: float
    near: float
    far: float
    blur: float

    def judge(self, fit: Fit, causes: Causes) -> tuple[Verdict, str]:
        """The verdict on a slope that should be 1, and the words for it."""
        strength, size = abs(fit.correlation), abs(fit.slope)
        off = math.inf if size == 0 else math.exp(abs(math.log(size)))
        if strength >= self.trusted and fit.slope > 0 and off <= self.near:
            return Verdict.OK, str(fit)
        if (strength >= self.trusted and off > self.far) or (
            strength >= 0.75 * self.trusted and (fit.slope < 0 or off > max(self.far, 3.0))
        ):
            blur = self.blur if strength >= self.trusted else max(self.blur, _WEAK_BLUR)
            words = causes.name(fit.slope, self.far, blur)
            return Verdict.SUSPICIOUS, f"{fit}; looks like {words}"
        why = "weakly correlated" if strength < self.trusted else "too rough to tell"
        return Verdict.NOT_CONCLUSIVE, f"{why} ({fit})"


PAIRS_OF_FRAMES = Scale(trusted=0.9, near=1.2, far=1.5, blur=1.12)
STRAINED_PAIRS = Scale(trusted=0.95, near=1.2, far=1.5, blur=1.12)
PAIR_MODEL = Scale(trusted=0.8, near=2.0, far=3.5, blur=1.4)
