"""Errors of a potential on the splits of a data set, as numbers, table and parity plot."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hermnet.graph import AtomicGraph
from hermnet.potential import Potential, Prediction
from hermnet.property_model import PropertyModel
from hermnet.run.force_errors import ForceErrors, Groups
from hermnet.run.frame_errors import FrameErrors, FrameSums
from hermnet.run.plots import parity
from hermnet.run.prediction import predict_batches, predict_properties
from hermnet.training.metrics import ErrorSums
from hermnet.training.property_objective import PropertyErrors
from hermnet.training.targets import Labels

Array = NDArray[np.float64]
_MILLI = 1000.0
_IN_A_ROW = 3  # targets in a table


@dataclass
class SplitResult:
    """How a model does on one split.

    Attributes:
        errors: ``<target>_mae`` and ``<target>_rmse`` in meV, meV/atom, meV/A, meV/A^3, or in the
            units of properties.
        pairs: for each target, labels and predictions, (n,) each, in meV/atom, eV/A, eV/A^3; the
            energies relative to the mean label.
        periodic: whether a structure has periodic directions.
        units: the unit of each property; empty for energies, forces and stress.
        forces_by: errors of the forces by element and by relation; empty without forces.
        by_frame: for each target and frame the sums of absolute and squared errors and the number
            of values, (n_frames, 3), in the units of `errors`.
    """

    errors: dict[str, float]
    pairs: dict[str, tuple[Array, Array]]
    periodic: bool
    units: dict[str, str] = field(default_factory=dict)
    forces_by: Groups = field(default_factory=dict)
    by_frame: FrameSums = field(default_factory=dict)


@dataclass
class _Pairs:
    labels: dict[str, list[Array]] = field(default_factory=dict)
    predictions: dict[str, list[Array]] = field(default_factory=dict)

    def add(self, target: str, label: torch.Tensor | None, predicted: torch.Tensor | None) -> None:
        if label is not None and predicted is not None:
            there = ~label.isnan()  # a frame may lack a label
            for values, known in ((label, self.labels), (predicted, self.predictions)):
                known.setdefault(target, []).append(values[there].double().cpu().numpy())

    def joined(self) -> dict[str, tuple[Array, Array]]:
        return {
            target: (np.concatenate(parts), np.concatenate(self.predictions[target]))
            for target, parts in self.labels.items()
        }


def evaluate_split(potential: Potential, graphs: Iterable[AtomicGraph]) -> SplitResult:
    """Predict every frame once and compare.

    Args:
        potential: the potential.
        graphs: batches with labels.
    """
    sums, pairs, groups, frames = ErrorSums(), _Pairs(), ForceErrors(potential), FrameErrors()
    periodic = False
    for graph in graphs:
        stress = graph.stress is not None
        for moved, prediction in predict_batches(potential, [graph], stress=stress):
            sums.update(prediction, moved)
            groups.update(prediction, moved)
            frames.update(prediction, moved)
            _add_pairs(pairs, moved, prediction)
            periodic = periodic or bool(moved.pbc.any())
    errors = {name: _MILLI * value for name, value in sums.reduce(lambda t: t).items()}
    joined = pairs.joined()
    if "energy" in joined:
        labels, predictions = joined["energy"]
        joined["energy"] = _MILLI * (labels - labels.mean()), _MILLI * (predictions - labels.mean())
    return SplitResult(errors, joined, periodic, {}, groups.result(), frames.result())


def evaluate_properties(
    model: PropertyModel, graphs: Iterable[AtomicGraph], labels: Labels
) -> SplitResult:
    """Predict the properties of every frame once and compare.

    Args:
        model: the model.
        graphs: batches with labels.
        labels: reads the labels off a graph.
    """
    sums, pairs, periodic = PropertyErrors(model, labels), _Pairs(), False
    frames = FrameErrors()
    for graph, prediction in predict_properties(model, graphs):
        sums.update(prediction, graph)
        known = model.columns(labels(graph))
        for name, values in model.columns(prediction.values).items():
            there = torch.isfinite(known[name])
            order = torch.arange(len(values), device=values.device)
            frames.add(name, values - known[name], order, len(values))
            if bool(there.any()):
                pairs.add(name, known[name][there], values[there])
        periodic = periodic or bool(graph.pbc.any())
    errors = sums.reduce(lambda t: t)
    return SplitResult(errors, pairs.joined(), periodic, model.units, by_frame=frames.result())


def _add_pairs(pairs: _Pairs, graph: AtomicGraph, prediction: Prediction) -> None:
    n_atoms = graph.atoms_per_system()
    if graph.energy is not None:
        pairs.add("energy", graph.energy / n_atoms, prediction.energy / n_atoms)
    pairs.add("forces", graph.forces, prediction.forces)
    pairs.add("stress", graph.stress, prediction.stress)


def columns(results: Mapping[str, SplitResult]) -> dict[str, tuple[str, str]]:
    """Which errors a table shows: by target, the key in `SplitResult.errors` and the unit.

    Energies are per molecule for molecules and per atom for periodic structures.
    """
    units = {target: unit for result in results.values() for target, unit in result.units.items()}
    if units:
        return {target: (target, unit) for target, unit in units.items()}
    periodic = any(result.periodic for result in results.values())
    shown = {
        "energy": ("energy_per_atom", "meV/atom") if periodic else ("energy", "meV"),
        "forces": ("forces", "meV/A"),
        "stress": ("stress", "meV/A^3"),
    }
    there = {name for result in results.values() for name in result.errors}
    return {target: key for target, key in shown.items() if f"{key[0]}_mae" in there}


def error_table(results: Mapping[str, SplitResult]) -> Any:
    """Rich tables: one row for each split, MAE and RMSE of each target with its unit.

    There are as many tables as it takes for each to fit into a terminal.
    """
    from rich.console import Group

    shown = list(columns(results).items())
    parts = [dict(shown[k : k + _IN_A_ROW]) for k in range(0, len(shown), _IN_A_ROW)] or [{}]
    title = "errors of the best checkpoint"
    return Group(*(_table(results, part, title) for part in parts))


def _table(
    results: Mapping[str, SplitResult], shown: Mapping[str, tuple[str, str]], title: str
) -> Any:
    from rich.table import Table

    table = Table(title=title)
    table.add_column("split")
    for target, (_, unit) in shown.items():
        for kind in ("MAE", "RMSE"):
            table.add_column(f"{target} {kind}\n{unit}", justify="right")
    for split, result in results.items():
        cells = [split]
        for key, _ in shown.values():
            for kind in ("mae", "rmse"):
                value = result.errors.get(f"{key}_{kind}")
                cells.append("-" if value is None else _number(value, bool(result.units)))
        table.add_row(*cells)
    return table


def _number(value: float, is_property: bool) -> str:
    """Two decimals for energies in meV; properties may be of any size."""
    return f"{value:.4g}" if is_property else f"{value:.2f}"


def _axis(target: str, unit: str) -> str:
    """Such as ``alpha, a0$^3$``; a pure number has no unit."""
    raised = re.sub(r"\^(\d)", r"$^\1$", unit)
    return f"{target}, {raised}" if unit else target


def draw_parity(results: Mapping[str, SplitResult], path: Path) -> None:
    """The parity plot of all splits; `path` is the PNG to write."""
    units = {
        "energy": "energy - mean, meV/atom",
        "forces": "forces, eV/A",
        "stress": "stress, eV/A$^3$",
    }
    pairs: dict[str, dict[str, tuple[Array, Array]]] = {}
    for split, result in results.items():
        units |= {name: _axis(name, unit) for name, unit in result.units.items()}
        for target, pair in result.pairs.items():
            pairs.setdefault(target, {})[split] = pair
    if pairs:
        parity(pairs, units, path)
