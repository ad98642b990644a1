"""Ablations whose runs are made up, so that what a report has to say of them is known."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import tiny
from hermnet.ablation.folder import AblationFolder, Status
from hermnet.ablation.grid import Grid
from hermnet.ablation.plan import Planned
from hermnet.ablation.planning import Base, make_plan
from hermnet.ablation.trial import Trials
from hermnet.run.frame_errors import write_frame_errors

AXES: dict[str, Sequence[Any]] = {
    "model.subnet": ["painn", "schnet"],
    "model.relations": ["none", "vertex"],
}
N_FRAMES, N_VALUES = 200, 18


def base(folder: Path) -> Base:
    """A tiny recipe and its data."""
    return Base(str(tiny.recipe_file(folder, tiny.data(folder / "data"))))


def planned(folder: Path, grid: Grid) -> Planned:
    """The plan of a grid over the tiny recipe."""
    return make_plan(base(folder), grid, Trials())


def started(folder: Path, grid: Grid) -> AblationFolder:
    """The folder of an ablation without any run."""
    ablation = AblationFolder(folder / "ablation")
    plan = planned(folder, grid)
    lock = ablation.new_lock()
    ablation.take(lock)
    ablation.write(plan)
    lock.release()
    return ablation


def finish(ablation: AblationFolder, errors: Mapping[str, float], skip: Sequence[str] = ()) -> None:
    """Make up all runs but those to skip.

    The force MAE of a variant is that of `errors` in meV/A, on each frame times a factor that all
    variants share, and the energy MAE a tenth of it.
    """
    generator = np.random.default_rng(1)
    hardness = generator.lognormal(sigma=0.5, size=N_FRAMES)
    hardness /= hardness.mean()
    for run in ablation.read_plan().runs:
        if run.name not in skip:
            noise = 1 + 0.02 * generator.standard_normal(N_FRAMES)
            _write(ablation, run.name, errors[run.variant] * hardness * noise / noise.mean())


def _write(ablation: AblationFolder, name: str, mae: np.ndarray) -> None:
    folder = ablation.run(name)
    folder.path.mkdir(parents=True)
    forces = np.stack([N_VALUES * mae, N_VALUES * mae**2, np.full(N_FRAMES, N_VALUES)], axis=1)
    energy = np.stack([mae / 10, mae**2 / 100, np.ones(N_FRAMES)], axis=1)
    write_frame_errors(folder.frame_errors, {"test": {"energy": energy, "forces": forces}})
    total = float(np.average(mae, weights=np.full(N_FRAMES, N_VALUES)))
    results = {"test": {"forces_mae": total, "energy_mae": total / 10}}
    folder.results.write_text(json.dumps(results))
    groups = {
        "elements": {"H": {"mae": 0.9 * total, "n_atoms": 8}, "O": {"mae": total, "n_atoms": 2}},
        "relations": {"H": {"mae": 0.9 * total, "n_atoms": 8}, "O": {"mae": total, "n_atoms": 2}},
    }
    folder.element_errors.write_text(json.dumps({"unit": "meV/A", "splits": {"test": groups}}))
    cost = {"parameters": 100, "steps": 10, "seconds": 5.0, "processor_seconds": 4.0}
    cost |= {"seconds_per_step": 0.5, "processor_seconds_per_step": 0.001 * total}
    folder.cost.write_text(json.dumps(cost | {"peak_memory_mib": 400.0, "device": "cpu"}))
    log = folder.csv_log(0) / "metrics.csv"
    log.parent.mkdir()
    rows = "".join(f"{epoch},{epoch},{total * (3 - epoch)}\n" for epoch in range(2))
    log.write_text(f"epoch,step,val_forces_mae\n{rows}")
    ablation.write_status(name, Status(0, 6.0))
