"""The moving average of the weights, as Lightning has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


@dataclass(frozen=True)
class _Lists:
    """Tensors of the average and of the model, in the same order."""

    means: list[Tensor]
    weights: list[Tensor]
    kept_buffers: list[Tensor]
    buffers: list[Tensor]

    @classmethod
    def of(cls, average: nn.Module, model: nn.Module) -> _Lists:
        return cls(
            list(average.parameters()),
            list(model.parameters()),
            list(average.buffers()),
            list(model.buffers()),
        )


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
        self._lists: _Lists | None = None

    @property
    def state_key(self) -> str:
        """The name of its state in checkpoints, which was there before this class."""
        return "EMAWeightAveraging"

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Make the average; Lightning makes another one for every fit."""
        super().setup(trainer, pl_module, stage)
        self._lists = None

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
        assert self._average_model is not None
        if self._lists is None:  # walking through the modules would take longer than averaging
            self._lists = _Lists.of(self._average_model.module, pl_module)
        lists = self._lists
        if self._latest_update_step == 0:
            torch._foreach_copy_(lists.means, lists.weights)
        else:
            torch._foreach_lerp_(lists.means, lists.weights, 1.0 - self._decay)
        torch._foreach_copy_(lists.kept_buffers, lists.buffers)
        self._average_model.n_averaged += 1
        self._latest_update_step = trainer.global_step

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Do nothing."""
