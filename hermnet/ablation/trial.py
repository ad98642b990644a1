"""What a recipe's runs would be like: parameters, batches, time per step. Nothing is written."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import final

import pytorch_lightning as pl
import torch

from hermnet.datamodule import GraphDataModule
from hermnet.model_options import ModelOptions
from hermnet.models import make_model
from hermnet.readouts.names import targets_of
from hermnet.recipes.config import Recipe
from hermnet.run.datasets import load_data
from hermnet.run.workflows import workflow_of
from hermnet.statistics import Statistics
from hermnet.training.cost import Cost, read_cost
from hermnet.training.targets import declared_units
from hermnet.training.task import PotentialTask
from hermnet.training.trainer import cpu_threads, quiet

_HARDWARE = ("accelerator", "precision", "gradient_clip_val", "accumulate_grad_batches")
_FORWARD = 0.35  # of the time of a training step is a prediction with forces, roughly
_START = 8.0  # seconds until a run trains: imports, data, statistics, and drawing in the end


@dataclass(frozen=True)
class Duration:
    """How long a run takes.

    Attributes:
        step: seconds of a training step.
        epoch: seconds of the training steps of an epoch.
        total: seconds of the whole run, validation, evaluation and its start included; a rough
            guess.
    """

    step: float
    epoch: float
    total: float


@final
class Trials:
    """Loads each data section once and builds models for it."""

    def __init__(self) -> None:
        self._data: dict[str, GraphDataModule] = {}
        self._steps: dict[str, float] = {}

    def data(self, recipe: Recipe) -> GraphDataModule:
        """The recipe's data, checked for what it wants to train.

        Raises:
            InputError: if they cannot be used.
        """
        key = json.dumps([recipe.data, recipe.model.cutoff], sort_keys=True, default=str)
        if key not in self._data:
            self._data[key] = load_data(recipe)
        workflow_of(recipe.model).check(recipe, self._data[key])
        return self._data[key]

    def n_parameters(self, recipe: Recipe, options: ModelOptions | None = None) -> int:
        """Parameters of the recipe's model, or of one with other options for the same data.

        Raises:
            InputError: if it cannot be built.
        """
        model, data = options or recipe.model, self.data(recipe)
        facts = Statistics.from_facts(data.facts("train"))
        units = {}
        if model.readout_name != "energy":
            units = declared_units(targets_of(model), data.scalar_names, data.scalar_units)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network = make_model(model, facts.elements, facts.mean_neighbors, units)
        return sum(parameter.numel() for parameter in network.parameters())

    def n_batches(self, recipe: Recipe) -> int:
        """Training steps of an epoch."""
        return len(self.data(recipe).train_dataloader())

    def duration(self, recipe: Recipe, n_steps: int) -> Duration:
        """How long the recipe's run takes, from as many training steps."""
        data, n_batches = self.data(recipe), self.n_batches(recipe)
        step = self._step(recipe, data, n_steps)
        frames = {split: len(data.graphs(split)) for split in data.splits()}
        frame = _FORWARD * step * n_batches / frames["train"]
        epoch = n_batches * step
        epochs = epochs_of(recipe, n_batches)
        total = epochs * (epoch + frame * frames.get("val", 0)) + frame * sum(frames.values())
        return Duration(step, epoch, total + _START)

    def _step(self, recipe: Recipe, data: GraphDataModule, n_steps: int) -> float:
        stored = recipe.to_dict()
        training = {k: v for k, v in stored["training"].items() if k not in ("seed", "scheduler")}
        key = json.dumps([n_steps, stored["data"], stored["model"], training], default=str)
        if key not in self._steps:
            self._steps[key] = _measured(recipe, data, n_steps)
        return self._steps[key]


def epochs_of(recipe: Recipe, n_batches: int) -> float:
    """How many epochs a recipe trains, from ``max_epochs`` or ``max_steps``."""
    n_steps = recipe.trainer.get("max_steps", -1)
    n_epochs = recipe.trainer.get("max_epochs")
    if n_epochs is None or n_epochs < 0:
        return float(n_steps / n_batches if n_steps > 0 else 1000)  # 1000 is Lightning's default
    return float(min(n_epochs, n_steps / n_batches) if n_steps > 0 else n_epochs)


def _measured(recipe: Recipe, data: GraphDataModule, n_steps: int) -> float:
    """Seconds of a training step: the median of as many."""
    workflow = workflow_of(recipe.model)
    options = {key: recipe.trainer[key] for key in _HARDWARE if key in recipe.trainer}
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stdout(io.StringIO()),
        warnings.catch_warnings(),
        quiet(),
        cpu_threads(recipe.training.threads),
    ):
        warnings.simplefilter("ignore")
        model = workflow.new(recipe, data)
        objective = workflow.objective(model, recipe.training, data)
        task = PotentialTask(model, recipe.training, recipe.to_dict(), objective)
        clock = Cost(Path(folder) / "cost.json", model)
        trainer = pl.Trainer(
            max_steps=n_steps,
            max_epochs=-1,
            devices=1,
            logger=False,
            callbacks=[clock],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            limit_val_batches=0,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            **options,
        )
        trainer.fit(task, data.train_dataloader())
        cost = read_cost(Path(folder) / "cost.json")
    if torch.cuda.is_available():
        return float(cost["seconds_per_step"])
    # a busy machine slows the clock down, several threads speed the processor's time up
    return float(min(cost["seconds_per_step"], cost["processor_seconds_per_step"]))
