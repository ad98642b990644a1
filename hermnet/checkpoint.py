"""Checkpoints: what is in them besides weights, and how they are read.

They are read with ``weights_only=True`` always: a checkpoint from a stranger runs no code.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from hermnet.errors import InputError
from hermnet.potential import ModelOptions, Potential

FORMAT = 1
_KEY = "hermnet"
_PACKAGES = ("hermnet", "torch", "pytorch-lightning", "e3nn", "numpy", "ase", "vesin")


def describe(potential: Potential, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint says about itself, beside Lightning's own entries.

    Args:
        potential: the potential whose weights the checkpoint holds.
        recipe: the resolved recipe as plain types.
    """
    return {
        _KEY: {
            "format": FORMAT,
            "recipe": dict(recipe),
            "elements": list(potential.elements),
            "mean_neighbors": potential.mean_neighbors,
            "versions": {name: version(name) for name in _PACKAGES},
        }
    }


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """A checkpoint's content, checked to be one of ours.

    Raises:
        InputError: a missing, truncated or foreign file, one that would run code, or another
            version of the format.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no checkpoint at {path}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"{path} holds objects that only running code could restore; refused ({reason})"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} is no complete checkpoint: it is truncated or damaged") from error
    about = content.get(_KEY) if isinstance(content, dict) else None
    if not isinstance(about, dict):
        raise InputError(f"{path} is no checkpoint of HermNet")
    if about.get("format") != FORMAT:
        raise InputError(
            f"{path} has checkpoint format {about.get('format')}, this HermNet reads {FORMAT}; "
            f"it was written by hermnet {about.get('versions', {}).get('hermnet', 'of unknown version')}"
        )
    return {**content, _KEY: about}


def stored_recipe(content: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe in a checkpoint's content, as plain types."""
    recipe: dict[str, Any] = content[_KEY]["recipe"]
    return recipe


def load_potential(
    path: str | Path, device: torch.device | str = "cpu", dtype: str | None = None
) -> Potential:
    """The trained potential of a checkpoint, ready to predict.

    Args:
        path: a checkpoint of a run, such as ``checkpoints/best.ckpt``.
        device: where to put it.
        dtype: ``float32`` or ``float64``; by default as trained.

    Raises:
        InputError: for a file that is no usable checkpoint.
    """
    content = read_checkpoint(path)
    about = content[_KEY]
    section = about["recipe"]["model"]
    known = {field.name for field in fields(ModelOptions)}
    if set(section) - known:
        raise InputError(f"{path}: unknown model options {sorted(set(section) - known)}")
    options = ModelOptions(**section)
    if dtype is not None:
        options = replace(options, dtype=dtype)
    potential = Potential(options, tuple(about["elements"]), about["mean_neighbors"])
    prefix = "potential."
    weights = {
        name.removeprefix(prefix): value
        for name, value in content["state_dict"].items()
        if name.startswith(prefix)
    }
    try:
        potential.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(f"{path}: the weights do not fit the recipe in it: {error}") from error
    return potential.to(device).eval()
