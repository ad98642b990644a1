"""What training costs: time per step, parameters and memory."""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any, final

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from hermnet.host.atomic import write_atomically
from hermnet.network import Network

_WINDOW = 2000  # steps that a median is taken over
_MIB = 2**20


@final
class Cost(Callback):
    """Measures training without validation, and writes what it was after every epoch.

    A step's time is what passes from the end of one to the end of the next. On a busy machine the
    processor time is the more reliable number; it counts all threads of the process. The totals
    are part of checkpoints: they are of the steps that led to a model, whatever was interrupted.

    Args:
        path: JSON to write.
        model: whose parameters count.
    """

    def __init__(self, path: Path, model: Network) -> None:
        self._path = path
        self._n_parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
        self._steps: deque[tuple[float, float]] = deque(maxlen=_WINDOW)  # wall, processor
        self._totals = {"steps": 0.0, "seconds": 0.0, "processor_seconds": 0.0}
        self._mark = (0.0, 0.0)

    @property
    def state_key(self) -> str:
        """The name of its state in checkpoints."""
        return "Cost"

    def state_dict(self) -> dict[str, Any]:
        """What the steps until now have cost."""
        return dict(self._totals)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Add to what a resumed run has cost before."""
        self._totals |= state_dict

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clocks."""
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        self._mark = _clocks()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave out what was between epochs."""
        self._mark = _clocks()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave out the validation."""
        self._mark = _clocks()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Count the step."""
        now = _clocks()
        wall, processor = (after - before for after, before in zip(now, self._mark, strict=True))
        self._steps.append((wall, processor))
        self._mark = now
        for name, value in zip(self._totals, (1, wall, processor), strict=True):
            self._totals[name] += value

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write what there is."""
        self._write(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write what there is, if training ended within an epoch."""
        self._write(trainer)

    def _write(self, trainer: pl.Trainer) -> None:
        dry = trainer.fast_dev_run  # type: ignore[attr-defined]  # set late
        if not self._steps or dry or not trainer.is_global_zero:
            return
        wall, processor = (statistics.median(column) for column in zip(*self._steps, strict=True))
        device = trainer.strategy.root_device
        cost = {
            "parameters": self._n_parameters,
            **self._totals,
            "seconds_per_step": wall,
            "processor_seconds_per_step": processor,
            "peak_memory_mib": peak_memory(device),
            "device": device.type,
            "threads": torch.get_num_threads(),
        }
        write_atomically(self._path, json.dumps(cost, indent=2) + "\n")


def read_cost(path: Path) -> dict[str, Any]:
    """What a run has cost so far; nothing where that was not written down."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def peak_memory(device: torch.device) -> float:
    """Largest memory in MiB: tensors on a GPU, else all of this process, Python and torch too."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / _MIB
    try:  # unlike the figure below it does not count what the process was before it became this one
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024
    except (OSError, ValueError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (_MIB if sys.platform == "darwin" else 1024)


def _clocks() -> tuple[float, float]:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter(), time.process_time()
