"""A page of pictures of a data set: what its labels are, and how they lie against each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hermnet.data.consistency import Array, Check, Verdict
from hermnet.data.consistency_energy_forces import NAME as ENERGY_FORCES
from hermnet.data.consistency_pair_labels import ENERGY, STRESS
from hermnet.data.consistency_strain import NAME as ENERGY_STRESS
from hermnet.data.inspection import Inspection
from hermnet.data.inspection_distances import bin_centers
from hermnet.data.inspection_facts import SplitFacts

_DPI = 130
_PANEL = (5.0, 4.0)  # inches
_COLOURS = ("#3b6fb6", "#e07b39", "#2a8c6a", "#a0509c", "#8c7a2b", "#777777")
_VERDICTS = {
    Verdict.OK: "#2a8c6a",
    Verdict.SUSPICIOUS: "#c0262d",
    Verdict.NOT_CONCLUSIVE: "#777777",
}
_AXES = {
    ENERGY_FORCES: (r"$-(F_1 + F_2)/2 \cdot \Delta x$, eV", r"$\Delta E$, eV"),
    ENERGY_STRESS: (r"$V \sigma : \Delta\epsilon$, eV", r"$\Delta E$, eV"),
    ENERGY: ("energy of the pair model, eV", "energy, eV"),
    STRESS: ("stress of the pair model, eV/A$^3$", "stress, eV/A$^3$"),
}
_MAX_POINTS = 3000  # of a scatter


def draw_inspection(inspection: Inspection, path: Path) -> None:
    """Draw energies, forces, distances, stress and the checks, as far as there are labels.

    Args:
        inspection: what was found.
        path: PNG to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # late: its import takes a second
    from matplotlib.figure import Figure

    panels = _panels(inspection)
    n_rows = 1 if len(panels) <= 2 else 2
    n_columns = -(-len(panels) // n_rows)
    figure = Figure(figsize=(_PANEL[0] * n_columns, _PANEL[1] * n_rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for axis, draw in zip(axes, panels, strict=False):
        draw(axis)
        axis.grid(alpha=0.25)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    figure.savefig(path, dpi=_DPI)


def _panels(inspection: Inspection) -> list[Callable[[Any], None]]:
    splits = inspection.splits
    panels: list[Callable[[Any], None]] = [lambda axis: _distances(axis, splits)]
    if any(len(facts.energies) for facts in splits):
        panels.append(lambda axis: _energies(axis, splits))
    if any(len(facts.forces) for facts in splits):
        panels.append(lambda axis: _forces(axis, splits))
    if any(len(facts.stress) for facts in splits):
        panels.append(lambda axis: _stress(axis, splits))
    names = dict.fromkeys(check.name for check in inspection.checks if len(check.expected))
    for name in names:
        checks = [c for c in inspection.checks if c.name == name and len(c.expected)]
        panels.append(lambda axis, checks=checks: _comparison(axis, checks))  # type: ignore[misc]  # bound
    return panels


def _distances(axis: Any, splits: Sequence[SplitFacts]) -> None:
    lengths = bin_centers()
    first = min((int(f.histogram.argmax()) for f in splits if f.histogram.any()), default=0)
    axis.set_xlim(max(0.0, lengths[first] - 1.0), lengths[-1])
    for facts, colour in _coloured(splits):
        if not facts.histogram.any():
            continue
        density = facts.histogram / lengths**2
        axis.plot(lengths, density / density.max(), color=colour, label=facts.name, linewidth=1.2)
    axis.set(title="distances", xlabel="A", ylabel="pairs / distance$^2$, highest peak 1")
    _legend(axis)


def _energies(axis: Any, splits: Sequence[SplitFacts]) -> None:
    values = {facts.name: facts.energies for facts in splits}
    middle = float(np.median(np.concatenate(list(values.values()))))
    moved = {name: 1e3 * (energies - middle) for name, energies in values.items()}
    _histogram(axis, splits, moved, n_bins=40)
    axis.set(title="energy", xlabel=f"meV/atom, from the median {middle:.6g} eV/atom")


def _forces(axis: Any, splits: Sequence[SplitFacts]) -> None:
    forces = {facts.name: facts.forces.ravel() for facts in splits}
    _histogram(axis, splits, forces, n_bins=80)
    axis.set(title="force components", xlabel="eV/A", yscale="log")


def _stress(axis: Any, splits: Sequence[SplitFacts]) -> None:
    values = [facts.stress for facts in splits if len(facts.stress)]
    stress = np.concatenate(values)
    bins = _bins(stress.ravel(), 80)
    for columns, label, colour in (
        (slice(0, 3), "xx, yy, zz", _COLOURS[0]),
        (slice(3, 6), "yz, xz, xy", _COLOURS[1]),
    ):
        axis.hist(stress[:, columns].ravel(), bins, histtype="step", color=colour, label=label)
    axis.set(title="stress components, all splits", xlabel="GPa, positive under tension")
    axis.set(ylabel="number", yscale="log")
    _legend(axis)


def _histogram(
    axis: Any, splits: Sequence[SplitFacts], values: dict[str, Array], n_bins: int
) -> None:
    """Of every split as a share of its values."""
    bins = _bins(np.concatenate(list(values.values())), n_bins)
    for facts, colour in _coloured(splits):
        mine = values[facts.name]
        if len(mine):
            weights = np.full(len(mine), 1 / len(mine))
            label = f"{facts.name} ({len(mine)})"
            axis.hist(mine, bins, weights=weights, histtype="step", color=colour, label=label)
    axis.set_ylabel("share of the split")
    _legend(axis)


def _bins(values: Array, n_bins: int) -> Array:
    low, high = float(values.min()), float(values.max())
    edge = max(1e-6, 1e-6 * abs(low)) if low == high else 0.0
    return np.linspace(low - edge, high + edge, n_bins + 1)


def _comparison(axis: Any, checks: Sequence[Check]) -> None:
    for check, colour in zip(checks, _cycle(len(checks)), strict=True):
        some = slice(None, None, -(-len(check.expected) // _MAX_POINTS))
        x, y = check.expected[some], check.labelled[some]
        label = f"{check.split}: {check.verdict}"
        if check.fit is not None:
            label += f", slope {check.fit.slope:.3g}, corr. {check.fit.correlation:.3f}"
        axis.plot(x, y, ".", markersize=4, alpha=0.5, color=colour, label=label, rasterized=True)
    axis.axline((0, 0), slope=1, color="black", linewidth=0.8)
    x_label, y_label = _AXES[checks[0].name]
    axis.set(title=checks[0].name, xlabel=x_label, ylabel=y_label)
    legend = axis.legend(frameon=False, markerscale=2, fontsize=8)
    for text, check in zip(legend.get_texts(), checks, strict=True):
        text.set_color(_VERDICTS[check.verdict])


def _cycle(n: int) -> list[str]:
    return [_COLOURS[k % len(_COLOURS)] for k in range(n)]


def _coloured(splits: Sequence[SplitFacts]) -> list[tuple[SplitFacts, str]]:
    return list(zip(splits, _cycle(len(splits)), strict=True))


def _legend(axis: Any) -> None:
    if axis.get_legend_handles_labels()[0]:
        axis.legend(frameon=False, fontsize=8)
