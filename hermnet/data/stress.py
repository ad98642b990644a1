"""Stress as files write it: as stress or virial, in any order and sign; declared, never guessed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hermnet.errors import InputError, nearest

Array = NDArray[Any]

ASE_ORDER = "xx yy zz yz xz xy"
_AXES = {"x": 0, "y": 1, "z": 2}
# What a positive value means where nothing is said: the convention of ASE, and virial = -V stress.
_POSITIVE = {"stress": "tension", "virial": "compression"}


@dataclass(frozen=True)
class StressConvention:
    """What the numbers of a file mean.

    Attributes:
        kind: ``stress``, or ``virial``, which is the stress times the volume.
        positive: ``tension`` or ``compression``, whichever makes a diagonal element positive.
        order: of six numbers, such as ``xx yy zz xy yz xz``; nine numbers are a 3x3 matrix.
    """

    kind: str
    positive: str
    order: tuple[str, ...]

    @classmethod
    def parse(cls, given: Mapping[str, str] | None) -> StressConvention:
        """Read ``{kind: ..., positive: ..., order: ...}``; what is not given is as in ASE.

        Raises:
            InputError: for an unknown key or value.
        """
        options = {"kind": "stress", "order": ASE_ORDER, **(given or {})}
        unknown = [key for key in options if key not in ("kind", "positive", "order")]
        if unknown:
            hint = nearest(unknown[0], ("kind", "positive", "order"))
            raise InputError(f"stress: unknown option '{unknown[0]}'; {hint}")
        kind = _choice("kind", options["kind"], _POSITIVE)
        positive = _choice(
            "positive", options.get("positive", _POSITIVE[kind]), ("tension", "compression")
        )
        order = tuple(options["order"].lower().split())
        names = sorted("".join(sorted(name)) for name in order)
        if names != sorted(ASE_ORDER.split()):
            raise InputError(
                f"stress.order: '{options['order']}' does not name each of {ASE_ORDER} once"
            )
        return cls(kind, positive, order)

    def matrix(self, values: Array, volume: float) -> Array:
        """The stress as 3x3 matrix, positive under tension, in the unit of the values.

        Args:
            values: six numbers in `order`, or nine.
            volume: of the cell; a virial is divided by it.

        Raises:
            InputError: for another number of values, a matrix that is not symmetric, or no volume.
        """
        if values.size == 9:
            full = values.reshape(3, 3)
            if np.abs(full - full.T).max() > 1e-3 * max(np.abs(full).max(), 1e-12):
                raise InputError(f"the {self.kind} {full.tolist()} is not symmetric")
        elif values.size == 6:
            full = np.empty((3, 3))
            for name, value in zip(self.order, values.reshape(6), strict=True):
                i, j = _AXES[name[0]], _AXES[name[1]]
                full[i, j] = full[j, i] = value
        else:
            raise InputError(f"the {self.kind} has {values.size} numbers, not six or nine")
        if not volume > 0:
            raise InputError(f"a {self.kind}, but no cell with a volume")
        scale = 1.0 if self.kind == "stress" else 1.0 / volume
        return np.asarray(full * (scale if self.positive == "tension" else -scale))


def _choice(name: str, value: str, allowed: Any) -> str:
    if value not in allowed:
        raise InputError(f"stress.{name}: unknown '{value}'; {nearest(value, allowed)}")
    return value
