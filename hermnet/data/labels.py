"""From a frame of a file to a graph: which labels, where they stand, in which units."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from hermnet.data.frames import Frame
from hermnet.data.scalars import Scalars
from hermnet.data.stress import StressConvention
from hermnet.errors import InputError, nearest
from hermnet.graph import LABELS, AtomicGraph
from hermnet.neighbors import graph_of
from hermnet.units import to_internal

Array = NDArray[Any]
Missing = Literal["error", "skip", "mask"]

_READABLE = (*LABELS, "dipole")
_UNITS = {
    "length": "A",
    "energy": "eV",
    "forces": "eV/A",
    "stress": "eV/A^3",
    "dipole": "e A",
    "virial": "eV",
}


@dataclass(frozen=True)
class Labelling:
    """How frames become graphs in eV, A, eV/A, eV/A^3 and e A.

    Attributes:
        keys: the wanted labels, and the key under which a frame has each.
        factors: what turns lengths and labels into the model's units.
        stress: what the numbers of a stress mean.
        missing: what happens to a frame that lacks a label: ``error``; ``skip`` it; or ``mask``
            the label, which then is NaN and counts nowhere.
        scalars: further properties of a structure.
    """

    keys: Mapping[str, str]
    factors: Mapping[str, float]
    stress: StressConvention
    missing: Missing
    scalars: Scalars = field(default_factory=Scalars)

    @classmethod
    def parse(
        cls,
        labels: Sequence[str],
        keys: Mapping[str, str] | None = None,
        units: Mapping[str, str] | None = None,
        stress: Mapping[str, str] | None = None,
        missing: str = "error",
        scalars: Mapping[str, str] | None = None,
    ) -> Labelling:
        """Read the options of a recipe.

        Args:
            labels: some of energy, forces, stress, dipole.
            keys: where a frame has them and the scalars, where that is not their own name.
            units: of length, energy, forces, stress and dipole, where they are not A, eV, eV/A,
                eV/A^3 and e A. The units of forces follow from those of energy and length if only
                these are given.
            stress: see `StressConvention`.
            missing: error, skip or mask.
            scalars: name and unit of each scalar.

        Raises:
            InputError: for an unknown label, unit or word.
        """
        for name in labels:
            _check("labels", name, _READABLE)
        for name in keys or {}:
            _check("keys", name, (*_READABLE, *(scalars or {})))
        convention = StressConvention.parse(stress)
        _check("missing", missing, get_args(Missing))
        return cls(
            keys={name: (keys or {}).get(name, name) for name in labels},
            factors=unit_factors(units or {}, convention.kind),
            stress=convention,
            missing=missing,  # type: ignore[arg-type]  # checked above
            scalars=Scalars.parse(scalars or {}, keys or {}),
        )

    def graph(self, frame: Frame) -> AtomicGraph | None:
        """The frame with its labels and without edges; None where it is to be skipped.

        Raises:
            InputError: for a structure or label that cannot be used, or a label that is missing; it
                names the frame and the keys that it has.
        """
        try:
            length = self.factors["length"]
            graph = graph_of(
                frame.numbers, frame.positions * length, frame.cell * length, frame.pbc
            )
            labels = {label: self._label(frame, label, graph) for label in self.keys}
            if self.scalars.names:
                labels["scalars"] = self.scalars.of(frame, self.missing)
        except InputError as error:
            raise InputError(f"{frame.name}: {error}") from error
        if any(value is None for value in labels.values()):
            return None
        return AtomicGraph(**{**vars(graph), **labels})

    def _label(self, frame: Frame, label: str, graph: AtomicGraph) -> torch.Tensor | None:
        n_atoms = graph.n_atoms
        shapes = {"energy": (1,), "forces": (n_atoms, 3), "stress": (1, 3, 3), "dipole": (1, 3)}
        shape = shapes[label]
        values = frame.label(label, self.keys[label], self.missing == "error")
        if values is None:
            return None if self.missing == "skip" else torch.full(shape, torch.nan).double()
        values = values * self.factors[label]
        if label == "stress":
            volume = abs(float(np.linalg.det(graph.cell.numpy()[0])))
            values = self.stress.matrix(values, volume)
        if values.size != math.prod(shape):
            key = self.keys[label]
            raise InputError(f"{label} '{key}' has shape {values.shape}, not {shape}")
        return torch.from_numpy(np.array(values.reshape(shape)))


def _check(option: str, name: str, allowed: Sequence[str]) -> None:
    if name not in allowed:
        raise InputError(f"{option}: unknown '{name}'; {nearest(name, allowed)}")


def unit_factors(given: Mapping[str, str], kind: str = "stress") -> dict[str, float]:
    """What turns lengths, energies, forces, stresses and dipoles into the model's units.

    Args:
        given: units of some of ``length``, ``energy``, ``forces``, ``stress`` and ``dipole``; the
            units of forces follow from those of energy and length if only these are given.
        kind: ``virial`` if what is called stress is one.

    Raises:
        InputError: for an unknown quantity or unit.
    """
    units = dict(given)
    allowed = ("length", "energy", "forces", "stress", "dipole")
    for name in units:
        _check("units", name, allowed)
    if "forces" not in units and units.keys() & {"length", "energy"}:
        energy, length = (units.get(name, _UNITS[name]) for name in ("energy", "length"))
        units["forces"] = f"{energy}/{length}"
    if kind == "virial" and "stress" not in units and "energy" in units:
        units["stress"] = units["energy"]
    factors = {}
    for name in allowed:
        quantity = "energy" if name == "stress" and kind == "virial" else name
        default = _UNITS["virial" if name == "stress" and kind == "virial" else name]
        try:
            factors[name] = to_internal(quantity, units.get(name, default))
        except InputError as error:
            raise InputError(f"units.{name}: {error}") from error
    return factors
