"""What it takes to repeat a run: command, versions and data."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hermnet.checkpoints.checkpoint import Checkpoint, versions
from hermnet.data.fingerprint import digest
from hermnet.datamodule import GraphDataModule
from hermnet.errors import InputError
from hermnet.host.atomic import write_atomically
from hermnet.network import Network
from hermnet.training.position import Position

_ORDER = ("batch_size", "max_edges_per_batch", "seed")  # options that the batches depend on


def fingerprints(data: GraphDataModule) -> dict[str, str]:
    """A word for the frames of each split, which changes when they do, wherever they lie.

    Of frames that are in memory everything counts, of others their atoms and edges.
    """
    return {split: _fingerprint(data, split) for split in data.splits()}


def training_data(model: Network, data: GraphDataModule) -> dict[str, Any]:
    """What checkpoints say of the data: edges of each relation, and the fingerprints."""
    return {
        "relations": model.count_edges(data.facts("train")),
        "fingerprints": fingerprints(data),
    }


def _fingerprint(data: GraphDataModule, split: str) -> str:
    graphs, facts = data.graphs(split), data.facts(split)
    arrays = [facts.n_atoms, facts.n_edges, facts.atoms]
    if graphs.in_memory:
        tensors = [value for graph in graphs for value in vars(graph).values() if value is not None]
        arrays += [tensor.numpy() for tensor in tensors]
    return digest(*(np.ascontiguousarray(array).tobytes() for array in arrays))[:16]


def check_position(
    checkpoint: Checkpoint, data: GraphDataModule, options: dict[str, Any]
) -> Position:
    """Where a resumed run goes on, if these are still the batches it has had.

    Args:
        checkpoint: what is resumed from.
        data: of the run that goes on.
        options: its ``data`` section.

    Raises:
        InputError: if the checkpoint lies within an epoch of other batches.
    """
    position = Position.of(checkpoint.position)
    if position.batch == 0:
        return position
    before = checkpoint.recipe.get("data", {})
    changed = [f"data.{key}" for key in _ORDER if before.get(key) != options.get(key)]
    if checkpoint.fingerprints.get("train") != _fingerprint(data, "train"):
        changed.append("the training frames")
    if not changed and position.n_batches != len(data.train_dataloader()):
        changed.append("the number of batches, or of processes")
    if changed:
        raise InputError(
            f"{checkpoint.path} was saved within an epoch ({position}) of other batches, "
            f"for {' and '.join(changed)} changed; resume as it was, or from the end of an epoch"
        )
    return position


def record_start(
    path: Path, data: GraphDataModule, command: Sequence[str], resumed: Checkpoint | None
) -> None:
    """Add a start or resume to the record of a run.

    Args:
        path: the record, JSON; it may be missing.
        data: of the run.
        command: arguments of the process.
        resumed: the checkpoint from which the run goes on; None for a new run.

    Raises:
        InputError: if the record cannot be written.
    """
    try:
        starts = json.loads(path.read_text(encoding="utf-8"))["starts"] if resumed else []
    except (OSError, ValueError, TypeError, KeyError):
        starts = []  # a record is worth less than a run that goes on
    start = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": list(command),
        "resumed_from": None,
        "versions": versions() | {"python": platform.python_version()},
        "machine": {"platform": platform.platform(), "threads": torch.get_num_threads()},
        "data": {
            split: {"n_frames": len(data.graphs(split)), "fingerprint": word}
            for split, word in fingerprints(data).items()
        },
    }
    if resumed is not None:
        start["resumed_from"] = {"path": str(resumed.path), "step": resumed.step}
    write_atomically(path, json.dumps({"starts": [*starts, start]}, indent=2) + "\n")


def this_command() -> list[str]:
    """The arguments of this process, the program's name first without its folder."""
    return [Path(sys.argv[0]).name, *sys.argv[1:]]
