"""The results of a run as files: numbers and pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from hermnet.datamodule import GraphDataModule
from hermnet.host.atomic import write_atomically
from hermnet.network import Network
from hermnet.run.bars import error_bars
from hermnet.run.evaluation import SplitResult, draw_parity
from hermnet.run.folder import RunFolder
from hermnet.run.force_errors import KINDS
from hermnet.run.frame_errors import write_frame_errors
from hermnet.run.plots import learning_curve
from hermnet.run.workflows import workflow_of

_UNIT = "meV/A"
Results = Mapping[str, SplitResult]  # by split


def evaluated(model: Network, data: GraphDataModule) -> dict[str, SplitResult]:
    """How a model does on each split that has labels."""
    workflow = workflow_of(model.options)
    splits = [name for name in data.splits() if name != "predict"]
    return {split: workflow.evaluate(model, data, split) for split in splits}


def _write(folder: RunFolder, results: Results) -> None:
    """Write the errors of each split, and of each frame."""
    write_frame_errors(folder.frame_errors, {s: result.by_frame for s, result in results.items()})
    errors = {split: result.errors for split, result in results.items()}
    write_atomically(folder.results, json.dumps(errors, indent=2) + "\n")


def leave_results(folder: RunFolder, model: Network, results: Results) -> None:
    """Write the errors, and draw everything that there is something of.

    Args:
        folder: of the run, with its logs.
        model: knows which errors belong into the learning curve.
        results: of each split.
    """
    _write(folder, results)
    draw_parity(results, folder.parity)
    logs = folder.metrics()
    if logs:
        learning_curve(logs, folder.learning_curve, workflow_of(model.options).curves(model))
    _errors_by_element(folder, results)


def drawn(folder: RunFolder) -> list[Path]:
    """The pictures in the folder."""
    pictures = (folder.learning_curve, folder.parity, folder.element_errors_picture)
    return [path for path in pictures if path.is_file()]


def _errors_by_element(folder: RunFolder, results: Results) -> None:
    there = {split: result.forces_by for split, result in results.items() if result.forces_by}
    if not there:
        return
    by_split = {
        split: {
            kind: {label: asdict(error) for label, error in groups[kind].items()} for kind in groups
        }
        for split, groups in there.items()
    }
    stored = {"unit": _UNIT, "splits": by_split}
    write_atomically(folder.element_errors, json.dumps(stored, indent=2) + "\n")
    panels = {}
    for kind in KINDS:
        panels[f"by {kind.removesuffix('s')}"] = {
            split: {label: error.mae for label, error in groups.get(kind, {}).items()}
            for split, groups in there.items()
        }
    error_bars(
        {title: bars for title, bars in panels.items() if any(bars.values())},
        _UNIT,
        folder.element_errors_picture,
    )
