"""What a person sees of training: a bar in a terminal, lines in a log file."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, Checkpoint, RichProgressBar
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn
from torch.optim import Optimizer

from hermnet.training.pace import Meter

_REFRESHES = 10  # of the bar per second
_BAR = 20  # characters
_SILENCE = 60.0  # seconds within an epoch after which a line says where it is
_ERRORS = 3  # in a line


@dataclass(frozen=True)
class Shown:
    """Validation errors to show.

    Attributes:
        monitor: the column of the one that decides what is best.
        labels: by column, name and unit, such as ``forces, meV/A``, which may hold TeX.
    """

    monitor: str
    labels: Mapping[str, str]

    def parts(self, column: str) -> tuple[str, str]:
        """Name and unit of a column; the unit may be empty."""
        name, _, unit = self.labels.get(column, column).replace("$", "").rpartition(", ")
        return (name, unit) if name else (unit, "")

    def line(self, metrics: Mapping[str, Any]) -> str:
        """The errors that there are, such as ``forces 31.2 meV/A, energy 0.8 meV/atom``."""
        columns = [self.monitor, *(name for name in self.labels if name != self.monitor)]
        there = [column for column in columns if column in metrics][:_ERRORS]
        told = []
        for column in there:
            name, unit = self.parts(column)
            told.append(f"{name} {float(metrics[column]):.4g} {unit}".rstrip())
        return ", ".join(told)


@final
class TrainingBar(RichProgressBar):
    """One bar with the speed, the validation error and the time left.

    Args:
        meter: knows speed and time.
        shown: which validation error.
    """

    def __init__(self, meter: Meter, shown: Shown) -> None:
        super().__init__(refresh_rate=_REFRESHES)
        self._meter = meter
        self._shown = shown

    def configure_columns(self, trainer: pl.Trainer) -> list[ProgressColumn]:
        """Epoch, bar and steps; Lightning adds the metrics."""
        return [
            TextColumn("{task.description}"),
            BarColumn(bar_width=_BAR),
            MofNCompleteColumn(),
        ]

    def get_metrics(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """Speed, errors and time; of Lightning's own those that are asked for besides."""
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        error = metrics.pop(self._shown.monitor, None)
        name, unit = self._shown.parts(self._shown.monitor)
        told = {} if error is None else {f"val {name} MAE": f"{error:.4g} {unit}".rstrip()}
        return {**self._meter.speed(), **told, **metrics, "left": self._meter.left(trainer)}

    def _get_train_description(self, current_epoch: int) -> str:
        return _epoch(self.trainer)


@final
class ProgressLines(Checkpoint):
    """A line for every epoch, and every minute within.

    It writes no checkpoint: Lightning calls callbacks of this kind when the epoch's losses are
    known, and others before.

    Args:
        meter: knows speed and time.
        shown: which validation errors.
    """

    def __init__(self, meter: Meter, shown: Shown) -> None:
        self._meter = meter
        self._shown = shown
        self._spoke = 0.0
        self._rate: float | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to wait, and watch the rate that steps use: when an epoch ends it is the next's."""
        self._spoke = time.monotonic()
        trainer.optimizers[0].register_step_pre_hook(self._note_rate)

    def _note_rate(self, optimizer: Optimizer, *_: Any) -> None:
        self._rate = float(optimizer.param_groups[0]["lr"])

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Say where a long epoch is."""
        n_batches = int(trainer.num_training_batches)
        if time.monotonic() - self._spoke >= _SILENCE and batch_idx + 1 < n_batches:
            self._say(trainer, [f"batch {batch_idx + 1}/{n_batches}"])

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say how the epoch went."""
        metrics = trainer.callback_metrics
        errors = self._shown.line(metrics)
        rate = "" if self._rate is None else f"lr {self._rate:.3g}"
        told = [_losses(metrics), f"val MAE {errors}" if errors else "", rate]
        self._say(trainer, [part for part in told if part])

    def _say(self, trainer: pl.Trainer, parts: list[str]) -> None:
        self._spoke = time.monotonic()
        if trainer.is_global_zero:
            speed = [f"{value} {unit}" for unit, value in self._meter.speed().items()]
            line = [_epoch(trainer), *parts, *speed, f"{self._meter.left(trainer)} left"]
            print(" | ".join(line), flush=True)


def progress_callbacks(shown: Shown) -> list[Callback]:
    """What shows the progress of training where this process writes."""
    meter, console = Meter(), Console()
    watched = console.is_interactive or console.is_jupyter
    return [meter, TrainingBar(meter, shown) if watched else ProgressLines(meter, shown)]


def _epoch(trainer: pl.Trainer) -> str:
    last = trainer.max_epochs
    of = "" if last is None or last < 0 else f"/{last}"
    return f"epoch {trainer.current_epoch + 1}{of}"


def _losses(metrics: Mapping[str, Any]) -> str:
    """The training loss, and its terms in brackets where there are several."""
    if "train_loss" not in metrics:
        return ""
    terms = {
        name.removeprefix("train_").removesuffix("_loss"): float(value)
        for name, value in metrics.items()
        if name.startswith("train_") and name.endswith("_loss") and name != "train_loss"
    }
    shown = ", ".join(f"{name} {value:.3g}" for name, value in terms.items())
    brackets = f" ({shown})" if 1 < len(terms) <= _ERRORS else ""
    return f"loss {float(metrics['train_loss']):.4g}{brackets}"
