"""Checkpoints of models that nobody trained, for what only needs a model, and empty exports."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from hermnet.checkpoints.checkpoint import describe
from hermnet.checks import random_potential
from hermnet.export.description import KEY, Description
from hermnet.model_options import ModelOptions
from hermnet.network import Network


def package(about: Description) -> bytes:
    """A file that says this of itself and holds no code."""
    result = io.BytesIO()
    with zipfile.ZipFile(result, "w") as file:
        file.writestr("data/model_metadata.json", json.dumps({KEY: about.to_json()}))
    return result.getvalue()


def save_model(path: Path, model: Network) -> Path:
    """The model as a checkpoint."""
    recipe = {"name": "untrained", "model": asdict(model.options), "training": {}}
    state = {f"potential.{name}": value for name, value in model.state_dict().items()}
    about = describe(model, recipe)
    about |= {"position": {"epoch": 0, "batch": 0, "n_batches": 1}, "metrics": {}}
    torch.save({"state_dict": state, "epoch": 0, "global_step": 0, "hermnet": about}, path)
    return path


def save_potential(path: Path, elements: tuple[int, ...], seed: int = 0, **options: Any) -> Path:
    """A random potential of few channels in float64, as a checkpoint."""
    small: dict[str, Any] = {"n_channels": 4, "n_layers": 2, "n_radial": 5, "cutoff": 3.0}
    chosen = ModelOptions(**{**small, "dtype": "float64", **options})
    return save_model(path, random_potential(chosen, elements, seed=seed))
