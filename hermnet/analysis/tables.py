"""The findings as tables: of relations for people, of everything for programs."""

from __future__ import annotations

import math
from typing import Any

from hermnet.analysis.findings import Findings, RelationFacts
from hermnet.analysis.weights import Array, Likeness

_MANY = 32  # relations above which the likeness of single layers is too long to write


def csv_columns(found: Findings) -> list[str]:
    """The columns of `csv_rows`."""
    rises = [f"{target}_mae_rise_when_off" for target in found.units]
    return [
        "relation",
        "training_edges",
        "edges_in_frames",
        "parameters",
        "parameter_share",
        "time_share",
        "atoms_served",
        "force_mae_of_served_meV_per_A",
        *rises,
        "force_mae_of_served_when_off_meV_per_A",
    ]


def csv_rows(found: Findings) -> list[list[Any]]:
    """One row for each relation; empty where something was not looked at."""
    return [
        [
            facts.label,
            facts.training_edges,
            facts.edges,
            facts.parameters,
            facts.parameter_share,
            facts.time_share,
            facts.n_atoms,
            facts.served,
            *(found.rise(facts, target) for target in found.units),
            _served_when_off(facts),
        ]
        for facts in found.relations
    ]


def shown_columns(found: Findings) -> list[str]:
    """The columns of `shown_rows`."""
    off = [f"off: {target} {unit}" for target, unit in found.units.items() if target != "stress"]
    served = ["F MAE meV/A"] if found.errors.served else []
    nearest = ["nearest"] if found.exchange is not None else []
    return ["relation", "train edges", "params", "time", "atoms", *served, *off, *nearest]


def shown_rows(found: Findings) -> list[list[str]]:
    """One row for each relation that was looked at, as a terminal shows it."""
    targets = [target for target in found.units if target != "stress"]
    rows = []
    for place, facts in enumerate(found.looked_at):
        cells = [
            facts.label,
            "?" if facts.training_edges is None else str(facts.training_edges),
            f"{facts.parameter_share:.1%}",
            _share(facts.time_share),
            "-" if facts.n_atoms is None else str(facts.n_atoms),
        ]
        if found.errors.served:
            cells.append("-" if facts.served is None else f"{facts.served:.3g}")
        rises = (found.rise(facts, target) for target in targets)
        cells += ["-" if rise is None else f"{rise:+.3g}" for rise in rises]
        if found.exchange is not None:
            cells.append(_nearest(found, found.exchange[place], place))
        rows.append(cells)
    return rows


def _share(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.0%}"


def _served_when_off(facts: RelationFacts) -> float | None:
    return None if facts.off is None else facts.off.served.get(facts.label)


def _nearest(found: Findings, rises: Array, own: int) -> str:
    """Which other relation's weights do best, and what they cost."""
    there = [k for k in range(len(rises)) if k != own and not math.isnan(rises[k])]
    if not there:
        return "-"
    best = min(there, key=lambda k: float(rises[k]))
    return f"{found.looked_at[best].label} {rises[best]:+.3g}"


def as_json(found: Findings) -> dict[str, Any]:
    """Everything, with names and units; None for what is not known."""
    labels = [facts.label for facts in found.looked_at]
    split, n_frames, n_all = found.split
    columns = csv_columns(found)
    content: dict[str, Any] = {
        "checkpoint": found.checkpoint,
        "relations_of": found.scheme,
        "classes": found.classes,
        "split": {"name": split, "frames": n_frames, "of": n_all},
        "units": found.units,
        "mae": found.errors.targets,
        "relations": [dict(zip(columns, map(_plain, row), strict=True)) for row in csv_rows(found)],
        "examined": labels,
        "findings": found.sentences(),
    }
    if found.exchange is not None:
        content["exchange"] = {
            "what": f"rise of the MAE ({found.units[found.main]}) on the atoms of the relation of "
            "the row when it has the weights of the relation of the column",
            "rises": _matrix(found.exchange),
        }
    if found.likeness and len(labels) <= _MANY:
        content["likeness_of_weights"] = [
            {"interaction": depth, "layer": name, **_likeness(one)}
            for (depth, name), one in found.likeness.items()
        ]
    return content


def _likeness(one: Likeness) -> dict[str, Any]:
    return {"cosine": _matrix(one.cosine), "distance": _matrix(one.distance)}


def _matrix(values: Array) -> list[list[float | None]]:
    return [[_plain(round(float(value), 6)) for value in row] for row in values]


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
