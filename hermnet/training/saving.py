"""When a run is saved: after epochs, within them, and when a signal asks it to stop."""

from __future__ import annotations

import signal
import time
from typing import Any, final

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint

from hermnet.checkpoints.checkpoint import amend, read_checkpoint
from hermnet.errors import InputError, Interrupted
from hermnet.host.atomic import copy_atomically
from hermnet.host.interrupts import Interrupts
from hermnet.recipes.config import Recipe
from hermnet.run.folder import RunFolder
from hermnet.training.history import History
from hermnet.training.position import continue_at, current_position, settle


@final
class Saving(Checkpoint):
    """Writes ``last`` after every epoch and at intervals within, and ``best`` where it is due.

    It saves where everything that belongs to a step or an epoch is done: averages, schedulers,
    validation, logs. Lightning calls it after all other callbacks.

    Args:
        folder: of the run.
        recipe: its ``training`` section says how often.
        monitor: the validation error that decides what is best; None where nothing is validated.
    """

    def __init__(self, folder: RunFolder, recipe: Recipe, monitor: str | None) -> None:
        training = recipe.training
        self._folder = folder
        self._trainer_options = recipe.to_dict()["trainer"]
        self._history = History(folder.checkpoints, training.keep_last)
        self._minutes, self._steps = training.checkpoint_minutes, training.checkpoint_steps
        self._monitor = monitor
        self._best: float | None = None
        self._metrics: dict[str, float] = {}
        self._random: dict[str, Any] | None = None
        self._had_stopped = False
        self._interrupts = Interrupts()
        self._is_better = self._epoch_unsaved = self._is_due = False
        self._saved_step, self._saved_time = 0, 0.0

    @property
    def state_key(self) -> str:
        """The name of its state in checkpoints."""
        return "Saving"

    def state_dict(self) -> dict[str, Any]:
        """How good the best is, the latest errors, and where the random numbers are."""
        return {"best": self._best, "metrics": dict(self._metrics), "random": _random_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the state of a checkpoint."""
        self._best, self._metrics = state_dict["best"], dict(state_dict["metrics"])
        self._random = state_dict["random"]

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Say where the run stands, so that it goes on exactly there."""
        where = current_position(trainer)
        if where.batch < where.n_batches:  # else another callback is ahead of the validation
            settle(checkpoint["loops"], where)
            checkpoint["epoch"] = where.last_epoch
        about = {"position": where.to_dict(), "metrics": dict(self._metrics)}
        amend(checkpoint, about | {"stopped": trainer.should_stop})

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """See whether the run had stopped early, and is not asked for anything else now."""
        about = checkpoint["hermnet"]
        before, now = dict(about["recipe"]["trainer"]), dict(self._trainer_options)
        for options in (before, now):
            options.pop("default_root_dir", None)
        self._had_stopped = bool(about.get("stopped")) and before == now

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put back what Lightning does not, and handle signals in its stead."""
        if trainer.received_sigterm:
            raise Interrupted(signal.SIGTERM, "stopped by SIGTERM before the first step")
        for name, value in self._metrics.items():
            trainer.callback_metrics[name] = torch.tensor(value, device=pl_module.device)
        if trainer.ckpt_path is not None:
            continue_at(trainer, current_position(trainer))
        if self._random is not None:
            _set_random_state(self._random)
        trainer.should_stop = self._had_stopped
        if not self._has_best_until(trainer.global_step):
            self._best = None
        self._saved_step, self._saved_time = trainer.global_step, time.monotonic()
        self._interrupts.watch()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Save within the epoch, where it is time and no validation follows."""
        loop = trainer.fit_loop.epoch_loop
        self._is_due = self._is_due or self._is_time(trainer)
        fetcher = trainer.fit_loop._data_fetcher
        validates = fetcher is not None and loop._should_check_val_fx(fetcher)
        if self._is_due and not (
            validates or loop._num_ready_batches_reached() or loop._should_accumulate()
        ):
            self._save(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """See whether it is better; save where that was within an epoch."""
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        self._take_metrics(trainer)
        score = self._metrics.get(self._monitor or "")
        if score is not None and (self._best is None or score < self._best):
            self._best, self._is_better = score, True
        loop = trainer.fit_loop.epoch_loop
        if loop._num_ready_batches_reached():
            return  # the end of the epoch is near
        if loop._should_accumulate():  # gradients are not saved: there is no going on from here
            self._save_best(trainer)
        elif self._is_better or self._is_due:
            self._save(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remember to save once schedulers and logs are through with the epoch."""
        self._epoch_unsaved = True

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the epoch before."""
        if self._epoch_unsaved:
            self._save(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the last epoch, and give the signals back."""
        if self._epoch_unsaved:
            self._save(trainer)
        self._interrupts.leave()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Give the signals back."""
        self._interrupts.leave()

    def _has_best_until(self, step: int) -> bool:
        """Whether the best checkpoint is here, and not of a course that was given up."""
        try:
            return read_checkpoint(self._folder.best).step <= step
        except InputError:
            return False

    def _is_time(self, trainer: pl.Trainer) -> bool:
        steps, passed = trainer.global_step - self._saved_step, time.monotonic() - self._saved_time
        due = self._interrupts.received > 0
        due = due or (self._steps is not None and steps >= self._steps)
        due = due or (self._minutes is not None and passed >= 60 * self._minutes)
        # clocks and signals differ between processes, and all of them take part in saving
        return trainer.strategy.reduce_boolean_decision(due, all=False)

    def _save(self, trainer: pl.Trainer) -> None:
        if trainer.fast_dev_run:  # type: ignore[attr-defined]  # set late
            return
        self._take_metrics(trainer)
        for logger in trainer.loggers:  # what a resumed run does not repeat must be on disk
            logger.save()
        if self._is_better:  # best comes first: last knows how good it was
            self._save_best(trainer)
            if trainer.is_global_zero:
                copy_atomically(self._folder.best, self._folder.last)
        else:
            trainer.save_checkpoint(self._folder.last)
        if trainer.is_global_zero:
            self._history.add(self._folder.last, trainer.global_step)
        self._epoch_unsaved = self._is_due = False
        self._saved_step, self._saved_time = trainer.global_step, time.monotonic()
        signum = self._interrupts.received
        if trainer.strategy.reduce_boolean_decision(signum > 0, all=False):
            name = signal.Signals(signum or signal.SIGTERM).name
            where = f"{self._folder.last} ({current_position(trainer)})"
            raise Interrupted(
                signum or signal.SIGTERM, f"{name}: saved {where}; go on with --resume"
            )

    def _save_best(self, trainer: pl.Trainer) -> None:
        if self._is_better and not trainer.fast_dev_run:  # type: ignore[attr-defined]  # set late
            trainer.save_checkpoint(self._folder.best)
            self._is_better = False

    def _take_metrics(self, trainer: pl.Trainer) -> None:
        self._metrics |= {name: float(value) for name, value in trainer.callback_metrics.items()}


def _random_state() -> dict[str, Any]:
    """Where torch's generators are: models of other packages may draw from them."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def _set_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["cpu"])
    if len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
