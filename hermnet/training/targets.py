"""Where the labels of a model's targets lie in a data module's graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hermnet.errors import InputError, nearest
from hermnet.graph import AtomicGraph
from hermnet.readouts.readout import Target
from hermnet.units import to_internal

DIPOLE_UNIT = "e A"  # of `AtomicGraph.dipole`


def declared_units(
    targets: Sequence[Target], names: Sequence[str], units: Sequence[str]
) -> dict[str, str]:
    """The unit of each target, as the data declare it.

    Args:
        targets: what a model predicts.
        names: the data's `scalar_names`.
        units: the data's `scalar_units`; none for data that say nothing.

    Raises:
        InputError: for a target that the data do not have; it names those that they have.
    """
    by_name = dict(zip(names, units or [""] * len(names), strict=True))
    found = {}
    for target in targets:
        if target.from_dipole:
            found[target.name] = DIPOLE_UNIT
        elif target.name in by_name:
            found[target.name] = by_name[target.name]
        else:
            hint = nearest(target.name, names)
            raise InputError(f"model.readout: the data have no scalar '{target.name}'; {hint}")
    return found


@dataclass(frozen=True)
class Labels:
    """Reads the labels of a model's targets off graphs.

    Attributes:
        targets: what the model predicts.
        places: for each target its column among the graphs' scalars; None for the dipole.
        factors: for each target, what turns the data's unit into the model's.
    """

    targets: tuple[Target, ...]
    places: tuple[int | None, ...]
    factors: tuple[float, ...]

    @classmethod
    def locate(
        cls,
        targets: tuple[Target, ...],
        model_units: Mapping[str, str],
        names: Sequence[str],
        units: Sequence[str],
    ) -> Labels:
        """Find the targets among the scalars of a data module.

        Args:
            targets: what the model predicts.
            model_units: the unit of each target.
            names: the data's `scalar_names`.
            units: the data's `scalar_units`.

        Raises:
            InputError: for a target that the data do not have, or have in a unit that does not
                convert to the model's.
        """
        declared = declared_units(targets, names, units)
        order = list(names)
        places = tuple(None if t.from_dipole else order.index(t.name) for t in targets)
        factors = tuple(_factor(t, declared[t.name], model_units[t.name]) for t in targets)
        return cls(targets, places, factors)

    def __call__(self, graph: AtomicGraph) -> Tensor:
        """Labels (n_systems, n_columns) float64 in the model's units, NaN where there is none."""
        missing = graph.positions.new_full((graph.n_systems, 1), torch.nan)
        columns = []
        for target, place, factor in zip(self.targets, self.places, self.factors, strict=True):
            found = graph.dipole
            if place is not None:
                found = None if graph.scalars is None else graph.scalars[:, place : place + 1]
            columns.append(
                missing.expand(-1, target.n_columns) if found is None else found * factor
            )
        return torch.cat(columns, dim=1)


def _factor(target: Target, unit: str, wanted: str) -> float:
    if unit == wanted:
        return 1.0
    if target.quantity is None:
        raise InputError(
            f"the model's '{target.name}' is in '{wanted}', that of the data in '{unit}'"
        )
    return to_internal(target.quantity, unit) / to_internal(target.quantity, wanted)
