"""What the runs of an ablation have come to, as a table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from hermnet.ablation.folder import AblationFolder
from hermnet.ablation.grid import value_label
from hermnet.run.folder import RunFolder
from hermnet.training.cost import read_cost

if TYPE_CHECKING:
    from pandas import DataFrame

_MS = 1000.0


def runs_table(folder: AblationFolder) -> DataFrame:
    """One row for each run of the plan, in the plan's order.

    Columns: ``run``, ``variant``, the axes by key, ``seed``, ``state`` (finished, failed, started
    or missing), ``message`` of a failed one, ``parameters``, ``n_channels``, ``n_radial``,
    ``epochs``, ``steps``, ``ms_per_step`` (of the processor on a CPU, else of the clock),
    ``peak_memory_mib``, ``training_seconds``, ``processor_seconds``, and for finished runs
    ``<split>_<target>_<mae or rmse>`` in meV, meV/atom, meV/A, meV/A^3 or the units of properties.

    Raises:
        InputError: if there is no ablation in the folder.
    """
    from pandas import DataFrame

    plan, rows = folder.read_plan(), []
    for run in plan.runs:
        state, status = folder.state(run.name), folder.status(run.name)
        rows.append(
            {
                "run": run.name,
                "variant": run.variant,
                **{key: value_label(key, run.values[key]) for key in plan.grid.axes},
                "seed": run.seed,
                "state": state,
                "message": status.message if status is not None and status.code else "",
                "parameters": plan.variants[run.variant].parameters,
                **_chosen(folder.recipe(run.name)),
                **_cost(folder.run(run.name)),
                **(_errors(folder.run(run.name)) if state == "finished" else {}),
            }
        )
    table = DataFrame(rows)
    table.attrs["folder"] = str(folder.path)
    return table


def _chosen(path: Path) -> dict[str, Any]:
    """Options of a recipe that equality chooses."""
    recipe: Any = OmegaConf.to_container(OmegaConf.load(path))
    model, trainer = recipe["model"], recipe["trainer"]
    return {
        "n_channels": model["n_channels"],
        "n_radial": model["n_radial"],
        "epochs": trainer.get("max_epochs"),
    }


def _cost(run: RunFolder) -> dict[str, float]:
    cost = read_cost(run.cost)
    if not cost:
        return {}
    per_step = "processor_seconds_per_step" if cost["device"] == "cpu" else "seconds_per_step"
    return {
        "steps": int(cost["steps"]),
        "ms_per_step": _MS * cost[per_step],
        "peak_memory_mib": cost["peak_memory_mib"],
        "training_seconds": cost["seconds"],
        "processor_seconds": cost["processor_seconds"],
    }


def _errors(run: RunFolder) -> dict[str, float]:
    by_split = json.loads(run.results.read_text(encoding="utf-8"))
    return {
        f"{split}_{name}": value
        for split, errors in by_split.items()
        for name, value in errors.items()
    }


def group_errors(run: RunFolder, split: str, kind: str) -> Mapping[str, Mapping[str, float]]:
    """MAE of the forces (meV/A) and number of atoms by element or relation; empty without forces.

    Args:
        run: a finished run.
        split: such as ``test``.
        kind: elements or relations.
    """
    if not run.element_errors.is_file():
        return {}
    splits = json.loads(run.element_errors.read_text(encoding="utf-8"))["splits"]
    found: Mapping[str, Mapping[str, float]] = splits.get(split, {}).get(kind, {})
    return found
