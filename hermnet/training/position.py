"""`Position`: where in the data a run stands, and Lightning's counters for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pytorch_lightning as pl

_EPOCH, _BATCH = "epoch_progress", "epoch_loop.batch_progress"


@dataclass(frozen=True)
class Position:
    """How far a run has come; the order of the frames follows from seed and epoch.

    Attributes:
        epoch: epochs that are over, validation and all.
        batch: batches of the epoch after them that have been trained on, and validated after where
            it was their turn; 0 between epochs.
        n_batches: batches of an epoch.
    """

    epoch: int
    batch: int
    n_batches: int

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Position:
        """The position that `to_dict` gave."""
        return cls(int(stored["epoch"]), int(stored["batch"]), int(stored["n_batches"]))

    def to_dict(self) -> dict[str, int]:
        """The numbers by their names."""
        return asdict(self)

    @property
    def last_epoch(self) -> int:
        """Number of the last epoch that had a batch, from 0."""
        return self.epoch if self.batch else self.epoch - 1

    def __str__(self) -> str:
        """As people count: ``epoch 3, batch 7 of 20``."""
        if self.batch:
            return f"epoch {self.epoch + 1}, batch {self.batch} of {self.n_batches}"
        return f"the end of epoch {self.epoch}"


def current_position(trainer: pl.Trainer) -> Position:
    """Where a trainer stands in its training, after a batch and what follows it."""
    n_batches = int(trainer.num_training_batches)
    progress = trainer.fit_loop.epoch_progress.current.state_dict()
    n_had = trainer.fit_loop.epoch_loop.batch_progress.current.ready
    n_epochs = int(progress["processed"])
    if n_epochs < progress["started"]:
        return Position(n_epochs, n_had, n_batches)
    if 0 < n_had < n_batches:  # max_steps, or a callback, ended it early
        return Position(n_epochs - 1, n_had, n_batches)
    return Position(n_epochs, 0, n_batches)


def settle(loops: Mapping[str, Any], position: Position) -> None:
    """Set the counters in a checkpoint to what Lightning resumes exactly from.

    Lightning guesses from its counters in which hook a checkpoint was saved. It guesses right for
    two of them, the end of a batch that is not the last, and the end of an epoch; at other moments
    it would leave out a validation, a step of the scheduler or a whole epoch.

    Args:
        loops: the entry of that name in the checkpoint; it is changed.
        position: where the run stands.
    """
    fit = loops["fit_loop"]
    within = position.batch > 0
    started = position.epoch + 1 if within else position.epoch
    if within and fit[_EPOCH]["current"]["processed"] == started:  # ended early
        fit["epoch_loop.state_dict"]["_batches_that_stepped"] -= 1  # Lightning adds it again
    for part in ("total", "current"):
        fit[_EPOCH][part].update(
            ready=started, started=started, processed=position.epoch, completed=position.epoch
        )
    n_all = fit[_BATCH]["total"]["ready"]
    for part, n_had in (("total", n_all), ("current", position.batch)):
        n_complete = n_had - 1 if within else n_had  # Lightning adds the last one itself
        fit[_BATCH][part].update(ready=n_had, started=n_had, processed=n_had, completed=n_complete)
    fit[_BATCH]["is_last_batch"] = not within
    for part in ("total", "current"):  # no validation is underway
        validated = fit["epoch_loop.val_loop.batch_progress"][part]
        validated.update(dict.fromkeys(validated, 0))


def continue_at(trainer: pl.Trainer, position: Position) -> None:
    """Let Lightning forget that it restarts, once it has set its counters.

    Otherwise it would count a step too many where ``max_steps`` is given, and leave out the step
    of a scheduler that follows validation at the end of the first epoch.
    """
    trainer.fit_loop._restarting = False
    if position.batch == 0:
        trainer.fit_loop.epoch_loop.restarting = False
