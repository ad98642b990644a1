"""How fast training goes, and when it will be done."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from typing import Any, final

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, Timer

_WINDOW = 100  # batches that the speed is an average over


@final
class Pace:
    """Steps and atoms per second of the latest batches, and the time that is left.

    Args:
        clock: seconds from any origin.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._recent: deque[tuple[float, int, int]] = deque(maxlen=_WINDOW)
        self._mark = self._began = clock()
        self._first = self._done = 0
        self._total = math.inf

    def start(self, done: int, total: float) -> None:
        """Training begins with as many steps done already, of as many."""
        self._recent.clear()
        self._mark = self._began = self._clock()
        self._first, self._done, self._total = done, done, total

    def resume(self) -> None:
        """Training goes on after something else, such as validation, which is not its speed."""
        self._mark = self._clock()

    def add(self, n_atoms: int, done: int) -> None:
        """A batch of as many atoms is over, with as many steps done since the first start."""
        now = self._clock()
        self._recent.append((now - self._mark, done - self._done, n_atoms))
        self._mark, self._done = now, done

    def speed(self) -> tuple[float, float] | None:
        """Steps and atoms per second; None before there is anything to tell."""
        seconds = sum(entry[0] for entry in self._recent)
        if seconds <= 0:
            return None
        steps, atoms = (sum(entry[k] for entry in self._recent) for k in (1, 2))
        return steps / seconds, atoms / seconds

    def left(self) -> float | None:
        """Seconds until the last step, validation included; None where nobody can know."""
        if self._done == self._first or math.isinf(self._total):
            return None
        each = (self._clock() - self._began) / (self._done - self._first)
        return each * max(self._total - self._done, 0)


@final
class Meter(Callback):
    """Tells a `Pace` what the trainer does; the atoms are those of all processes, if alike."""

    def __init__(self) -> None:
        self.pace = Pace()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start, or go on with a resumed run."""
        self.pace.start(trainer.global_step, trainer.estimated_stepping_batches)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave out what was between epochs."""
        self.pace.resume()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave out the validation."""
        self.pace.resume()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Count the batch."""
        self.pace.add(batch.n_atoms * trainer.world_size, trainer.global_step)

    def speed(self) -> dict[str, str]:
        """What to show of the speed, by unit; empty at first."""
        speed = self.pace.speed()
        if speed is None:
            return {}
        return {"steps/s": f"{speed[0]:.3g}", "atoms/s": f"{_whole(speed[1])}"}

    def left(self, trainer: pl.Trainer) -> str:
        """The time left, by steps, epochs or ``trainer.max_time``; ``?`` where unknown."""
        callbacks = trainer.callbacks  # type: ignore[attr-defined]  # Lightning sets it late
        timers = [c.time_remaining() for c in callbacks if isinstance(c, Timer)]
        known = [seconds for seconds in (self.pace.left(), *timers) if seconds is not None]
        return duration(min(known)) if known else "?"


def duration(seconds: float) -> str:
    """Such as ``0:07:12`` or ``3 d 02:00:00``."""
    minutes, rest = divmod(round(max(seconds, 0.0)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours:02}:{minutes:02}:{rest:02}"
    return f"{hours}:{minutes:02}:{rest:02}"


def _whole(value: float) -> str:
    """Three digits of a number that may be large, without an exponent."""
    digits = max(len(str(int(value))) - 3, 0)
    return f"{round(value, -digits):.0f}" if value >= 100 else f"{value:.3g}"
