"""Lightning's trainer as a recipe wants it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning import Callback
from pytorch_lightning.callbacks import ProgressBar
from pytorch_lightning.strategies import DDPStrategy

from hermnet.checkpoints.io import SafeCheckpointIO
from hermnet.datamodule import GraphDataModule
from hermnet.errors import InputError
from hermnet.host.heap import keep_freed_memory
from hermnet.host.processes import started_as
from hermnet.recipes.class_path import build
from hermnet.recipes.config import Recipe
from hermnet.run.folder import RunFolder
from hermnet.run.workflows import workflow_of
from hermnet.training.averaging import MovingAverage
from hermnet.training.cost import Cost
from hermnet.training.loggers import Place, make_loggers
from hermnet.training.non_finite import FiniteSteps
from hermnet.training.progress import Shown, progress_callbacks
from hermnet.training.saving import Saving
from hermnet.training.summary import Summary
from hermnet.training.task import PotentialTask

# Lightning's own defaults do not suit forces (inference mode forbids them) or our samplers.
_DEFAULTS: dict[str, Any] = {
    "inference_mode": False,
    "use_distributed_sampler": False,
    "gradient_clip_val": 10.0,
    "enable_model_summary": False,
}
_LOG_EVERY = 50  # steps, where an epoch has as many


def make_trainer(
    recipe: Recipe, data: GraphDataModule, task: PotentialTask, folder: RunFolder, resume: bool
) -> pl.Trainer:
    """The trainer, which has written nothing yet.

    Args:
        recipe: the recipe; its ``trainer`` section goes before the defaults.
        data: knows whether there are validation frames.
        task: knows what is best.
        folder: where checkpoints and logs go.
        resume: whether a run goes on, and so leaves its earlier logs alone.

    Raises:
        InputError: when Lightning refuses its arguments.
    """
    options = dict(recipe.trainer)
    has_val = "val" in data.splits()
    if task.follows_validation() and not has_val:
        raise InputError(
            "training.scheduler: it follows the validation error, but there are no val frames"
        )
    skips = recipe.training.non_finite == "skip"
    callbacks: list[Callback] = [
        Summary(task.potential, data, recipe.training.compile is True),
        FiniteSteps(folder.non_finite, data, skips),
        Cost(folder.cost, task.potential),
    ]
    if recipe.training.ema_decay is not None:
        callbacks.append(MovingAverage(recipe.training.ema_decay))
    callbacks.append(Saving(folder, recipe, task.monitor() if has_val else None))
    callbacks += [build(spec, Callback) for spec in options.pop("callbacks", None) or []]
    options["callbacks"] = _with_progress(callbacks, options, task)
    options["plugins"] = [*_as_list(options.get("plugins")), SafeCheckpointIO()]
    place = Place(folder, recipe.name, folder.n_starts() if resume else 0)
    options["logger"] = make_loggers(options.get("logger"), place)
    options["default_root_dir"] = folder.path
    options.setdefault("log_every_n_steps", min(_LOG_EVERY, len(data.train_dataloader())))
    if not has_val:
        options["limit_val_batches"] = 0
    try:
        trainer = pl.Trainer(**_DEFAULTS | started_as() | options)
    except Exception as error:  # whatever it raises, the recipe's values are the cause
        raise InputError(f"trainer: {' '.join(str(error).split())}") from error
    if isinstance(trainer.strategy, DDPStrategy):
        # No buffer changes in training, and sending them all costs as much as small gradients.
        trainer.strategy._ddp_kwargs.setdefault("broadcast_buffers", False)
    if trainer.strategy.root_device.type == "cpu":
        keep_freed_memory()
    return trainer


def _with_progress(
    callbacks: list[Callback], options: dict[str, Any], task: PotentialTask
) -> list[Callback]:
    """Add what shows the progress, unless the recipe has a bar of its own or wants none."""
    has_own = any(isinstance(callback, ProgressBar) for callback in callbacks)
    if has_own or options.get("enable_progress_bar") is False:
        return callbacks
    labels = workflow_of(task.potential.options).curves(task.potential)
    added = progress_callbacks(Shown(task.monitor(), labels))
    # Lightning would add a bar of its own to the lines.
    options["enable_progress_bar"] = any(isinstance(new, ProgressBar) for new in added)
    return [*callbacks, *added]


def _as_list(given: Any) -> list[Any]:
    if given is None:
        return []
    return list(given) if isinstance(given, list | tuple) else [given]


@contextmanager
def cpu_threads(n_threads: int | None) -> Iterator[None]:
    """Let torch use this many threads on the CPU; None changes nothing."""
    before = torch.get_num_threads()
    torch.set_num_threads(before if n_threads is None else n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def quiet() -> Iterator[None]:
    """Leave out what Lightning says about choices that are ours, and its advertisements."""
    names = ("pytorch_lightning", "lightning_fabric", "pytorch_lightning.utilities.rank_zero")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for message in (
            ".*does not have many workers.*",  # the frames are in memory: workers would be slower
            ".*LeafSpec.*",  # Lightning's own use of a deprecated name of torch
            ".*Checkpoint directory .* exists and is not empty.*",  # a resumed run
            ".*Grad strides do not match.*",  # of weights whose one dimension is 1
            ".*your dataloader is not resumable.*",  # ours leaves out what has been read
            ".*Total length of `list`.*",  # no validation frames, which is allowed
        ):
            warnings.filterwarnings("ignore", message=message)
        try:
            for logger in loggers:
                logger.setLevel(logging.WARNING)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
