"""The moving average of the weights, as Lightning has it."""

from __future__ import annotations

from typing import Any, final

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor
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
        self._decay = decay

    @property
    def state_key(self) -> str:
        """The name of its state in checkpoints, which was there before this class."""
        return "EMAWeightAveraging"

    @torch.no_grad()
    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Move the average by one operator for all weights, after an optimizer's step.

        Lightning would look at a counter on the device twice a step, which waits for it.
        """
        if trainer.global_step <= self._latest_update_step:
            return
        average = self._average_model
        assert average is not None
        means: list[Tensor] = list(average.module.parameters())
        weights: list[Tensor] = list(pl_module.parameters())
        if self._latest_update_step == 0:
            torch._foreach_copy_(means, weights)
        else:
            torch._foreach_lerp_(means, weights, 1.0 - self._decay)
        torch._foreach_copy_(list(average.module.buffers()), list(pl_module.buffers()))
        average.n_averaged += 1
        self._latest_update_step = trainer.global_step

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Do nothing."""
