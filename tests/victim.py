"""The command hermnet, which kills itself somewhere, by SIGKILL: there is no chance to tidy up."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import torch

from hermnet.checkpoints import io as checkpoint_io
from hermnet.cli import main
from hermnet.host import atomic
from hermnet.training import saving
from hermnet.training.task import PotentialTask


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _lay_trap(owner: Any, name: str, count: int) -> None:
    original, left = getattr(owner, name), [count]

    def trap(*arguments: Any, **options: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            _die()
        return original(*arguments, **options)

    setattr(owner, name, trap)


def _lay_trap_in_writing(count: int) -> None:
    """Die with half a checkpoint written."""
    original, left = atomic.write_atomically, [count]

    def trap(path: Path, content: bytes | str) -> None:
        left[0] -= path.suffix == ".ckpt"
        if left[0] == 0:
            path.with_name(path.name + ".part").write_bytes(bytes(content[: len(content) // 2]))
            _die()
        original(path, content)

    checkpoint_io.write_atomically = trap


PLACES = {
    "step": (PotentialTask, "training_step"),
    "validation": (PotentialTask, "validation_step"),
    "epoch end": (PotentialTask, "on_train_epoch_end"),
    "between best and last": (saving, "copy_atomically"),
    "rename": (atomic.os, "replace"),
}


def run(place: str, count: int, arguments: list[str]) -> None:
    """Run the command until it comes by the place for the given time; with 0 to its end."""
    torch.set_num_threads(1)
    if count and place == "writing":
        _lay_trap_in_writing(count)
    elif count:
        _lay_trap(*PLACES[place], count)
    raise SystemExit(main(arguments))
