"""Scalars of structures: which values of a frame they are, and in which units."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hermnet.data.frames import Frame
from hermnet.errors import InputError
from hermnet.graph import LABELS
from hermnet.units import scalar_unit


@dataclass(frozen=True)
class Scalars:
    """The columns of `AtomicGraph.scalars`.

    Attributes:
        names: of the columns.
        keys: under which a frame has each.
        factors: what turns a frame's numbers into the units.
        units: of the columns; empty for a pure number.
    """

    names: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    factors: tuple[float, ...] = ()
    units: tuple[str, ...] = ()

    @classmethod
    def parse(cls, units: Mapping[str, str], keys: Mapping[str, str]) -> Scalars:
        """Read the options of a recipe.

        Args:
            units: name and unit of each scalar; see `hermnet.units.scalar_unit`.
            keys: where a frame has them, where that is not their own name.

        Raises:
            InputError: for a name that is taken, or an unknown unit.
        """
        found = []
        for name, unit in units.items():
            if name in (*LABELS, "dipole"):
                raise InputError(
                    f"scalars: '{name}' is one of the labels; to read it as a scalar give it "
                    f"another name, with keys: {{other_name: {name}}}"
                )
            try:
                found.append(scalar_unit(unit))
            except InputError as error:
                raise InputError(f"scalars.{name}: {error}") from error
        return cls(
            names=tuple(units),
            keys=tuple(keys.get(name, name) for name in units),
            factors=tuple(factor for factor, _ in found),
            units=tuple(unit for _, unit in found),
        )

    def of(self, frame: Frame, missing: str) -> Tensor | None:
        """The scalars of a frame, (1, n_scalars) float64; None where it is to be skipped.

        Args:
            frame: where they stand.
            missing: ``error``, ``skip`` or ``mask`` for one that the frame lacks.

        Raises:
            InputError: for one that is missing or is not one finite number.
        """
        row = []
        for name, key, factor in zip(self.names, self.keys, self.factors, strict=True):
            values = frame.label(f"scalar {name}", key, missing == "error")
            if values is None and missing == "skip":
                return None
            if values is not None and values.size != 1:
                raise InputError(f"scalar {name} '{key}' has shape {values.shape}, not one number")
            row.append(math.nan if values is None else float(values.item()) * factor)
        return torch.tensor([row], dtype=torch.float64)
