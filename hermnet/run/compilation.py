"""Whether a run is compiled: decided before it starts, kept in its recipe and checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from hermnet.compiling import compiling_pays
from hermnet.datamodule import GraphDataModule
from hermnet.recipes.config import Recipe

_EPOCHS = 1000  # what Lightning takes where the recipe does not say


def decided(recipe: Recipe, data: GraphDataModule, before: Mapping[str, Any] | None) -> Recipe:
    """The recipe with ``training.compile`` true or false where it was ``auto``.

    Args:
        recipe: the recipe.
        data: the training frames, with their facts.
        before: the recipe of the run that goes on, as its checkpoint has it; None for a new run.
    """
    if recipe.training.compile != "auto":
        return recipe
    stored = None if before is None else before.get("training", {}).get("compile")
    choice = stored if isinstance(stored, bool) else _pays(recipe, data)
    return replace(recipe, training=replace(recipe.training, compile=choice))


def _pays(recipe: Recipe, data: GraphDataModule) -> bool:
    if recipe.model.readout_name != "energy" or recipe.trainer.get("fast_dev_run"):
        return False
    n_edges = float(data.facts("train").n_edges.mean()) * data.batch_size
    n_edges = min(n_edges, data.max_edges or n_edges)
    sizes = _steps(recipe, data), n_edges
    return compiling_pays(recipe.model, *sizes, "training", device_of(recipe))


def device_of(recipe: Recipe) -> str:
    """``cuda`` where the recipe's trainer finds a GPU, else ``cpu``."""
    wants_gpu = recipe.trainer.get("accelerator", "auto") in ("auto", "gpu", "cuda")
    return "cuda" if wants_gpu and torch.cuda.is_available() else "cpu"


def _steps(recipe: Recipe, data: GraphDataModule) -> int:
    """How many steps the recipe asks for; a run that ends only by time counts a thousand epochs."""
    epochs, steps = recipe.trainer.get("max_epochs"), recipe.trainer.get("max_steps", -1)
    if (epochs is None and steps < 0) or epochs == -1:
        epochs = _EPOCHS
    counts = [] if epochs is None else [epochs * len(data.train_dataloader())]
    return int(min([*counts, *([steps] if steps >= 0 else [])]))
