"""Heat maps of relations: over the periodic table, or over pairs of classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hermnet.analysis.findings import Findings
from hermnet.analysis.heat_map import heat_map
from hermnet.analysis.periodic_table import n_rows, periodic_table
from hermnet.run.plots import DPI, new_figure

_MATRIX = 4.4  # inches, the height of a panel
_CELL, _AROUND = 0.26, 0.9  # of a row of the periodic table, and of what stands around it


@dataclass(frozen=True)
class Quantity:
    """Something to draw of each relation.

    Attributes:
        title: with its unit.
        values: by the relation's index; NaN where it is not known.
        is_logarithmic: whether orders of magnitude count.
    """

    title: str
    values: dict[int, float]
    is_logarithmic: bool = False


def draw_maps(found: Findings, path: Path) -> bool:
    """Draw edges, error, importance and time of the relations; whether there was anything to draw.

    Args:
        found: the findings.
        path: PNG to write.
    """
    n_members = len(found.relations[0].relation.members)
    if n_members == 0 or not found.examined:
        return False
    quantities = _quantities(found)
    height = _MATRIX
    if n_members == 1:
        elements = [z for members in found.classes.values() for z in members]
        height = _AROUND + _CELL * n_rows(elements)
    figure, axes = new_figure(len(quantities), 2, height)
    for axis, quantity in zip(axes, quantities, strict=True):
        if n_members == 1:
            _elements(axis, found, quantity)
        else:
            _pairs(axis, found, quantity)
        axis.set_title(quantity.title, fontsize=10)
    figure.savefig(path, dpi=DPI)
    return True


def _quantities(found: Findings) -> list[Quantity]:
    def of(values: Sequence[float | None]) -> dict[int, float]:
        known = zip(found.relations, values, strict=True)
        return {f.relation.index: np.nan if v is None else float(v) for f, v in known}

    unit = found.units[found.main]
    every = found.relations
    edges = ("training edges", of([f.training_edges for f in every]))
    if all(f.training_edges is None for f in every):
        edges = ("edges in these frames", of([f.edges for f in every]))
    rises = [found.rise(f, found.main) for f in every]
    quantities = [Quantity(*edges, is_logarithmic=True)]
    if found.errors.served:
        served = of([f.served for f in every])
        quantities.append(Quantity("force MAE on the atoms it changes, meV/A", served))
    title = f"rise of the MAE of the {found.main} when switched off, {unit}"
    quantities.append(Quantity(title, of(rises), is_logarithmic=True))
    shares = of([None if f.time_share is None else 100 * f.time_share for f in every])
    return [*quantities, Quantity("share of the time of all relations, %", shares)]


def _elements(axis: Any, found: Findings, quantity: Quantity) -> None:
    of_class = {f.relation.members[0]: quantity.values[f.relation.index] for f in found.relations}
    of_element = {
        z: of_class[k] for k, members in enumerate(found.classes.values()) for z in members
    }
    periodic_table(axis, of_element, quantity.is_logarithmic)


def _pairs(axis: Any, found: Findings, quantity: Quantity) -> None:
    names = list(found.classes)
    values = np.full((len(names), len(names)), np.nan)
    is_ordered = any(f.relation.members[0] > f.relation.members[1] for f in found.relations)
    for facts in found.relations:
        first, second = facts.relation.members
        values[first, second] = quantity.values[facts.relation.index]
    heat_map(axis, values, names, quantity.is_logarithmic)
    if is_ordered:
        axis.set(xlabel="receiving", ylabel="sending neighbor")
    else:
        axis.set(xlabel="neighbor", ylabel="other neighbor")
