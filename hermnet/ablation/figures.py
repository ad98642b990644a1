"""Pictures of an ablation: error against cost, learning curves, errors by element."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hermnet.ablation.grid import value_label
from hermnet.ablation.study import Study

_COLOURS = ("#1b6a4b", "#d95f02", "#5b62b3", "#c2247c", "#8c6d1f", "#4a4a4a", "#2a9fd6", "#7ba428")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_PANEL, _SINGLE = (4.4, 3.6), (6.2, 3.8)  # inches


@dataclass(frozen=True)
class _Looks:
    """How variants look: the axis with most values gets the panels, or markers; another colours."""

    colours: Mapping[str, str]  # by variant
    markers: Mapping[str, str]
    names: Mapping[str, str]
    groups: Mapping[str, Sequence[str]]  # variants of each panel

    @classmethod
    def of(cls, study: Study) -> _Looks:
        axes = [key for key, values in study.plan.grid.axes.items() if len(values) > 1]
        colour = axes[-1] if axes else None
        rest = [key for key in axes if key != colour]
        values = {study.plan.grid.label(one): one for one in study.plan.grid.variants()}
        colours, markers, names = {}, {}, {}
        groups: dict[str, list[str]] = {}
        seen: dict[str, str] = {}
        for label in study.variants:
            name = label if colour is None else value_label(colour, values[label][colour])
            group = "-".join(value_label(key, values[label][key]) for key in rest)
            seen.setdefault(name, _COLOURS[len(seen) % len(_COLOURS)])
            groups.setdefault(group, []).append(label)
            colours[label], names[label] = seen[name], name
            markers[label] = _MARKERS[list(groups).index(group) % len(_MARKERS)]
        return cls(colours, markers, names, groups)


def _figure(width: float, height: float, n_panels: int = 1) -> tuple[Any, Any]:
    """A figure with panels of this size, at most three in a row."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # late: its import takes a second
    from matplotlib.figure import Figure

    columns = n_panels if n_panels <= 3 else -(-n_panels // -(-n_panels // 3))
    rows = -(-n_panels // columns)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for spare in panels[n_panels:]:
        spare.set_axis_off()
    for panel in panels[:n_panels]:
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(alpha=0.25)
    return figure, panels[:n_panels]


def error_against_cost(study: Study) -> Any:
    """Error, with its deviation over seeds, against time per step; the best are joined."""
    looks = _Looks.of(study)
    figure, (panel,) = _figure(7.6, 4.4)
    points = []
    for variant in study.variants:
        error, spread = study.mean_std(variant, study.column(study.target))
        cost = study.mean_std(variant, "ms_per_step")[0]
        points.append((cost, error))
        panel.errorbar(
            cost,
            error,
            yerr=None if np.isnan(spread) else spread,
            fmt=looks.markers[variant],
            color=looks.colours[variant],
            markersize=9 if variant == study.baseline else 7,
            markeredgecolor="black" if variant == study.baseline else "white",
            capsize=3,
            label=variant + (" (baseline)" if variant == study.baseline else ""),
        )
    front = [p for p in sorted(points) if not any(q[0] <= p[0] and q[1] < p[1] for q in points)]
    panel.plot(*zip(*front, strict=True), color="0.6", linewidth=1, zorder=0)
    name, unit = study.target, study.unit(study.target)
    panel.set(xlabel="time per training step, ms", ylabel=f"{name} MAE, {unit}".rstrip(", "))
    _widen(panel, points)
    panel.legend(frameon=False, fontsize=8.5, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _widen(panel: Any, points: Sequence[tuple[float, float]]) -> None:
    """Logarithmic axes where values differ by much, and in any case readable numbers."""
    from matplotlib.ticker import MaxNLocator, NullFormatter, ScalarFormatter

    for axis, values in zip((panel.xaxis, panel.yaxis), zip(*points, strict=True), strict=True):
        if max(values) > 4 * min(values):
            name = axis.axis_name
            getattr(panel, f"set_{name}scale")("log", subs=(1, 2, 3, 5))
            axis.set_major_formatter(ScalarFormatter())
            _label_subs(axis, ScalarFormatter, NullFormatter)
        else:
            axis.set_major_locator(MaxNLocator(6))


def _label_subs(axis: Any, scalar: Any, null: Any) -> None:
    from matplotlib.ticker import LogLocator

    axis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    axis.set_minor_formatter(null())
    axis.set_major_formatter(scalar())


def learning_curves(study: Study) -> Any:
    """Validation error against the epoch: mean over seeds, and from the lowest to the highest."""
    looks = _Looks.of(study)
    groups = {
        group: [v for v in variants if study.curves(v)] for group, variants in looks.groups.items()
    }
    groups = {group: variants for group, variants in groups.items() if variants}
    if not groups:
        return None
    figure, panels = _figure(*(_PANEL if len(groups) > 1 else _SINGLE), len(groups))
    for panel, (group, variants) in zip(panels, groups.items(), strict=True):
        for variant in variants:
            runs = study.curves(variant)
            n = min(len(run) for run in runs)
            table = np.stack([run[:n, 1] for run in runs])
            epochs, colour = runs[0][:n, 0] + 1, looks.colours[variant]
            panel.plot(epochs, table.mean(axis=0), color=colour, label=looks.names[variant])
            panel.fill_between(epochs, table.min(0), table.max(0), color=colour, alpha=0.15, lw=0)
        panel.set(xlabel="epoch", yscale="log", title=group)
        panel.legend(frameon=False, fontsize=9)
    _log_labels(panels[0])
    unit = study.unit(study.target)
    panels[0].set_ylabel(f"validation {study.target} MAE, {unit}".rstrip(", "))
    return figure


def _log_labels(panel: Any) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    panel.yaxis.set_major_formatter(ScalarFormatter())
    panel.yaxis.set_minor_formatter(NullFormatter())


def errors_by_element(study: Study) -> Any:
    """A heat map of the force error by variant and element, coloured by its change."""
    rows = {variant: study.by_group("elements", variant) for variant in study.variants}
    elements = list(dict.fromkeys(e for row in rows.values() for e in row))
    if not elements:
        return None
    table = np.array(
        [[row.get(e, (np.nan, 0))[0] for e in elements] for row in rows.values()]
    )  # (n_variants, n_elements)
    baseline = study.baseline or study.variants[0]
    change = table / table[study.variants.index(baseline)] - 1
    width = 2.6 + 0.85 * len(elements) + 0.07 * max(map(len, rows))
    figure, (panel,) = _figure(max(width, 4.5), 1.3 + 0.36 * len(rows))
    bound = max(0.05, float(np.nanmax(np.abs(change))))
    image = panel.imshow(change, cmap="PiYG_r", vmin=-bound, vmax=bound, aspect="auto")
    for i, j in np.ndindex(*table.shape):
        dark = abs(change[i, j]) > 0.75 * bound
        panel.text(
            j,
            i,
            _short(float(table[i, j])),
            ha="center",
            va="center",
            color="white" if dark else "black",
        )
    panel.set_xticks(range(len(elements)), elements)
    panel.set_yticks(range(len(rows)), list(rows))
    panel.grid(False)
    panel.tick_params(length=0)
    bar = figure.colorbar(image, ax=panel, format=lambda x, _: f"{100 * x:+.0f} %")
    bar.set_label(f"against {baseline}", fontsize=9)
    bar.outline.set_visible(False)
    return figure
