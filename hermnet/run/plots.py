"""Pictures of a run: the learning curve and how predictions lie against labels."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
DPI = 150
_IN_A_ROW = 4  # panels
COLOURS = {"train": "#8da0cb", "val": "#fc8d62", "test": "#1b6a4b"}


def new_figure(n_panels: int, in_a_row: int = _IN_A_ROW, height: float = 4.4) -> tuple[Any, Any]:
    """A figure and its panels, (n_panels,), each `height` inches, in as many rows as it takes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # late: its import takes a second
    from matplotlib.figure import Figure

    columns = min(n_panels, in_a_row)
    rows = -(-n_panels // columns)
    figure = Figure(figsize=(5.2 * columns, height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for spare in panels[n_panels:]:
        spare.set_axis_off()
    return figure, panels[:n_panels]


def read_curves(logs: Sequence[Path]) -> dict[str, Array]:
    """The columns of Lightning's ``metrics.csv`` files: for each, (n, 2) epoch and value.

    A resumed run writes a file of its own; where epochs overlap the later file counts.
    """
    curves: dict[str, dict[float, float]] = {}
    for log in logs:
        with log.open(newline="") as file:
            for row in csv.DictReader(file):
                for name, value in row.items():
                    if name not in ("epoch", "step") and value and row.get("epoch"):
                        curves.setdefault(name, {})[float(row["epoch"])] = float(value)
    return {name: np.array(sorted(points.items())) for name, points in curves.items()}


ENERGY_CURVES = {
    "val_forces_mae": "forces, meV/A",
    "val_energy_per_atom_mae": "energy, meV/atom",
    "val_stress_mae": "stress, meV/A$^3$",
}


def learning_curve(
    logs: Sequence[Path], path: Path, errors: Mapping[str, str] = ENERGY_CURVES
) -> None:
    """Draw training loss and validation errors against the epoch, on logarithmic axes.

    Args:
        logs: Lightning's ``metrics.csv`` files.
        path: PNG to write.
        errors: which validation errors to draw, by column, with their names and units.
    """
    curves = read_curves(logs)
    loss = {name: points for name, points in curves.items() if name == "train_loss"}
    figure, (left, right) = new_figure(2)
    for points in loss.values():
        left.plot(points[:, 0] + 1, points[:, 1], color=COLOURS["train"])
    for name, label in errors.items():
        if name in curves:
            right.plot(curves[name][:, 0] + 1, curves[name][:, 1], label=label)
    left.set(xlabel="epoch", ylabel="training loss", yscale="log")
    right.set(xlabel="epoch", ylabel="validation MAE", yscale="log")
    if right.lines:
        right.legend(frameon=False)
    for axis in (left, right):
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=DPI)


def parity(
    pairs: Mapping[str, Mapping[str, tuple[Array, Array]]],
    labels: Mapping[str, str],
    path: Path,
) -> None:
    """Draw predictions against labels, one panel for each target.

    Args:
        pairs: by target and split, labels and predictions, each (n,).
        labels: each target's name with its unit.
        path: PNG to write.
    """
    figure, axes = new_figure(len(pairs))
    for axis, (target, splits) in zip(axes, pairs.items(), strict=True):
        for split, (label, prediction) in splits.items():
            mae = float(np.mean(np.abs(prediction - label)))
            axis.plot(
                label,
                prediction,
                ".",
                markersize=3,
                alpha=0.4,
                color=COLOURS.get(split),
                label=f"{split}, MAE {mae:.3g}",
                rasterized=True,
            )
        ends = [axis.get_xlim()[0], axis.get_xlim()[1]]
        axis.axline((ends[0], ends[0]), slope=1, color="black", linewidth=0.8)
        axis.set(title=labels[target], xlabel="label", ylabel="prediction")
        axis.legend(frameon=False, markerscale=4)
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=DPI)
