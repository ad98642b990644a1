"""Checkpoints: what is in them besides weights, and how they are read.

They are read with ``weights_only=True`` always: a checkpoint from a stranger runs no code.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hermnet.errors import InputError
from hermnet.model_options import ModelOptions
from hermnet.models import make_model
from hermnet.network import Network
from hermnet.potential import Potential

FORMAT = 1
_KEY = "hermnet"
_PREFIX = "potential."  # of the names in the state of a `PotentialTask`
_PACKAGES = ("hermnet", "torch", "pytorch-lightning", "e3nn", "numpy", "ase", "vesin")


def describe(potential: Network, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint says about itself, beside Lightning's own entries.

    Args:
        potential: the model whose weights the checkpoint holds.
        recipe: the resolved recipe as plain types.
    """
    return {
        _KEY: {
            "format": FORMAT,
            "recipe": dict(recipe),
            "elements": list(potential.elements),
            "mean_neighbors": potential.mean_neighbors,
            "units": potential.units,
            "versions": {name: version(name) for name in _PACKAGES},
        }
    }


def stored_training(content: Mapping[str, Any]) -> dict[str, Any]:
    """The ``training`` section in a checkpoint's raw content."""
    section: dict[str, Any] = content[_KEY]["recipe"]["training"]
    return section


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds besides the state of optimizer and loops.

    Attributes:
        path: where it lies.
        recipe: the resolved recipe as plain types.
        elements: the model's atomic numbers, in its order.
        mean_neighbors: the average number of neighbors that the model was made with.
        units: the unit of each target of a model of properties.
        weights: the model's state.
        epoch: number of the last epoch that it saw, from 0.
    """

    path: Path
    recipe: dict[str, Any]
    elements: tuple[int, ...]
    mean_neighbors: float
    units: dict[str, str]
    weights: dict[str, Tensor]
    epoch: int


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint and check that it is one of ours.

    Raises:
        InputError: a missing, truncated or foreign file, one that would run code, or another
            version of the format.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no checkpoint {path}")
    content = _load(path)
    about = content.get(_KEY) if isinstance(content, dict) else None
    if not isinstance(about, dict):
        raise InputError(f"{path} is no checkpoint of HermNet")
    if about.get("format") != FORMAT:
        raise InputError(
            f"{path} has checkpoint format {about.get('format')!r}, this HermNet reads {FORMAT}; "
            f"it was written with {_writer(about)}"
        )
    try:
        return Checkpoint(
            path=path,
            recipe=dict(about["recipe"]),
            elements=tuple(int(z) for z in about["elements"]),
            mean_neighbors=float(about["mean_neighbors"]),
            units={str(name): str(unit) for name, unit in about.get("units", {}).items()},
            weights={
                name.removeprefix(_PREFIX): value
                for name, value in content["state_dict"].items()
                if name.startswith(_PREFIX)
            },
            epoch=int(content["epoch"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is an incomplete checkpoint: {error!r}") from error


def _load(path: Path) -> Any:
    # Torch writes zip files. Anything else, a bare pickle included, is not even looked into.
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path} is truncated, damaged or no checkpoint at all")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        names = re.findall(r"GLOBAL (\S+)", str(error))
        what = f"'{names[0]}'" if names else "objects other than tensors and plain values"
        raise InputError(
            f"{path} would run code: it names {what}, which no checkpoint of HermNet needs; refused"
        ) from error
    except Exception as error:  # damaged bytes raise whatever they happen to look like
        raise InputError(f"{path} is a damaged checkpoint ({type(error).__name__})") from error


def _writer(about: Mapping[str, Any]) -> str:
    versions = about.get("versions")
    known = versions.get("hermnet") if isinstance(versions, Mapping) else None
    return f"hermnet {known}" if known else "an unknown version"


def load_potential(
    path: str | Path, device: torch.device | str = "cpu", dtype: str | None = None
) -> Potential:
    """The trained potential of a checkpoint, ready to predict.

    Args:
        path: a checkpoint of a run, such as ``checkpoints/best.ckpt``.
        device: where to put it.
        dtype: ``float32`` or ``float64``; by default as trained.

    Raises:
        InputError: for a file that is no usable checkpoint, or one of a model of properties.
    """
    model = load_model(path, device, dtype)
    if not isinstance(model, Potential):
        raise InputError(
            f"{path} holds a model of {', '.join(model.units)} (readout "
            f"{model.options.readout_name}), which has no energy; read it with hermnet.load_model"
        )
    return model


def load_model(
    path: str | Path, device: torch.device | str = "cpu", dtype: str | None = None
) -> Network:
    """The trained model of a checkpoint, a `Potential` or a `PropertyModel`, ready to predict.

    Args:
        path: a checkpoint of a run, such as ``checkpoints/best.ckpt``.
        device: where to put it.
        dtype: ``float32`` or ``float64``; by default as trained.

    Raises:
        InputError: for a file that is no usable checkpoint.
    """
    stored = read_checkpoint(path)
    section = stored.recipe.get("model")
    if not isinstance(section, Mapping):
        raise InputError(f"{path} is an incomplete checkpoint: its recipe has no model section")
    unknown = sorted(set(section) - {field.name for field in fields(ModelOptions)})
    if unknown:
        raise InputError(f"{path}: unknown model options {', '.join(unknown)}")
    options = ModelOptions(**section)
    if dtype is not None:
        options = replace(options, dtype=dtype)
    model = make_model(options, stored.elements, stored.mean_neighbors, stored.units)
    try:
        model.load_state_dict(stored.weights)
    except RuntimeError as error:
        first = str(error).splitlines()[1:2] or [str(error)]
        raise InputError(
            f"{path}: the weights do not fit the recipe in it: {first[0].strip()}"
        ) from error
    return model.to(device).eval()
