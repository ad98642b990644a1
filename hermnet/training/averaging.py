"""The moving average of the weights, as Lightning has it."""

from __future__ import annotations

from typing import final

import pytorch_lightning as pl
from pytorch_lightning.callbacks import WeightAveraging
from torch.optim.swa_utils import get_ema_multi_avg_fn


@final
class MovingAverage(WeightAveraging):
    """Averages parameters only, and leaves the task alone when training ends.

    Lightning would put the average in the place of the weights then, and a checkpoint written after
    that could not be continued from. What is used of a run is read from its checkpoints.

    Args:
        decay: of the average.
    """

    def __init__(self, decay: float) -> None:
        # Interpolating leaves weights that do not change as they are, unlike a sum of products.
        super().__init__(use_buffers=False, multi_avg_fn=get_ema_multi_avg_fn(decay))

    @property
    def state_key(self) -> str:
        """The name of its state in checkpoints, which was there before this class."""
        return "EMAWeightAveraging"

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Do nothing."""
