"""The moving average of the weights, as Lightning has it."""

from __future__ import annotations

from typing import final

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EMAWeightAveraging


@final
class MovingAverage(EMAWeightAveraging):
    """Averages parameters only, and leaves the task alone when training ends.

    Lightning would put the average in the place of the weights then, and a checkpoint written after
    that could not be continued from. What is used of a run is read from its checkpoints.

    Args:
        decay: of the average.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(decay=decay, use_buffers=False)

    @property
    def state_key(self) -> str:
        """The name of its state in checkpoints, which was there before this class."""
        return "EMAWeightAveraging"

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Do nothing."""
