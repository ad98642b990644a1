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

from hermnet.checkpoints.formats import FORMAT, upgrade
from hermnet.errors import InputError
from hermnet.model_options import ModelOptions
from hermnet.models import make_model
from hermnet.network import Network
from hermnet.potential import Potential

_KEY = "hermnet"
_PREFIX = "potential."  # of the names in the state of a `PotentialTask`
PACKAGES = ("hermnet", "torch", "pytorch-lightning", "e3nn", "numpy", "ase", "vesin")


def versions() -> dict[str, str]:
    """The installed versions of what a run's numbers depend on."""
    return {name: version(name) for name in PACKAGES}


def describe(
    potential: Network, recipe: Mapping[str, Any], training_data: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What a checkpoint says about its model, beside Lightning's own entries.

    Args:
        potential: the model whose weights the checkpoint holds.
        recipe: the resolved recipe as plain types.
        training_data: what is known of the training data; see `hermnet.checkpoints.provenance`.
    """
    known = training_data or {}
    return {
        "format": FORMAT,
        "recipe": dict(recipe),
        "elements": list(potential.elements),
        "relations": dict.fromkeys(potential.relation_labels) | dict(known.get("relations", {})),
        "mean_neighbors": potential.mean_neighbors,
        "units": potential.units,
        "fingerprints": dict(known.get("fingerprints", {})),
        "versions": versions(),
    }


def amend(checkpoint: dict[str, Any], entries: Mapping[str, Any]) -> None:
    """Add entries to what a checkpoint that is being written says about itself."""
    checkpoint[_KEY] = {**checkpoint.get(_KEY, {}), **entries}


def stored_training(content: Mapping[str, Any]) -> dict[str, Any]:
    """The ``training`` section in a checkpoint's raw content."""
    section: dict[str, Any] = content[_KEY]["recipe"]["training"]
    return section


def finished_epochs(content: Mapping[str, Any]) -> int:
    """How many epochs were over when a checkpoint was written, from its raw content."""
    return int(content[_KEY]["position"]["epoch"])


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds besides the state of optimizer and loops.

    Attributes:
        path: where it lies.
        recipe: the resolved recipe as plain types.
        elements: the model's atomic numbers, in its order.
        relations: number of training edges of each relation by its label, None where not known;
            empty in checkpoints of format 1.
        mean_neighbors: the average number of neighbors that the model was made with.
        units: the unit of each target of a model of properties.
        weights: the model's state.
        epoch: number of the last epoch that it saw, from 0.
        step: number of steps of the optimizer.
        position: where in the data the run stood, as `hermnet.training.position.Position` reads it.
        metrics: the latest errors and losses by name.
        fingerprints: of the frames of each split; empty where not known.
        versions: of the packages that wrote it.
        format: version of the format that the file has.
    """

    path: Path
    recipe: dict[str, Any]
    elements: tuple[int, ...]
    relations: dict[str, int | None]
    mean_neighbors: float
    units: dict[str, str]
    weights: dict[str, Tensor]
    epoch: int
    step: int
    position: dict[str, int]
    metrics: dict[str, float]
    fingerprints: dict[str, str]
    versions: dict[str, str]
    format: int


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint and check that it is one of ours.

    Raises:
        InputError: a missing, truncated or foreign file, one that would run code, or an unknown
            version of the format.
    """
    path = Path(path)
    content = load_content(path)
    about = content[_KEY]
    try:
        return Checkpoint(
            path=path,
            recipe=dict(about["recipe"]),
            elements=tuple(int(z) for z in about["elements"]),
            relations=dict(about["relations"]),
            mean_neighbors=float(about["mean_neighbors"]),
            units={str(name): str(unit) for name, unit in about["units"].items()},
            weights={
                name.removeprefix(_PREFIX): value
                for name, value in content["state_dict"].items()
                if name.startswith(_PREFIX)
            },
            epoch=int(content["epoch"]),
            step=int(content["global_step"]),
            position={str(name): int(number) for name, number in about["position"].items()},
            metrics={str(name): float(value) for name, value in about["metrics"].items()},
            fingerprints={str(name): str(word) for name, word in about["fingerprints"].items()},
            versions={str(name): str(number) for name, number in about["versions"].items()},
            format=int(about["format"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is an incomplete checkpoint: {error!r}") from error


def load_content(path: Path) -> dict[str, Any]:
    """A checkpoint's raw content, brought to today's format.

    Raises:
        InputError: see `read_checkpoint`.
    """
    if not path.is_file():
        raise InputError(f"there is no checkpoint {path}")
    content = _load(path)
    about = content.get(_KEY) if isinstance(content, dict) else None
    if not isinstance(about, dict):
        raise InputError(f"{path} is no checkpoint of HermNet")
    upgraded: dict[str, Any] = upgrade(content, about, str(path))
    return upgraded


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
    return model_of(stored, options).to(device).eval()


def model_of(stored: Checkpoint, options: ModelOptions) -> Network:
    """The model of a checkpoint with its weights, on the CPU.

    Args:
        stored: the checkpoint.
        options: those in it; the dtype may be another.

    Raises:
        InputError: if elements, relations or weights in the checkpoint do not fit these options.
    """
    model = make_model(options, stored.elements, stored.mean_neighbors, stored.units)
    if stored.relations and list(stored.relations) != list(model.relation_labels):
        raise InputError(
            f"{stored.path}: the relations {', '.join(stored.relations)} in it are not those of "
            f"its recipe and elements: {', '.join(model.relation_labels)}"
        )
    try:
        model.load_state_dict(stored.weights)
    except RuntimeError as error:
        first = str(error).splitlines()[1:2] or [str(error)]
        raise InputError(
            f"{stored.path}: the weights do not fit the recipe in it: {first[0].strip()}"
        ) from error
    return model
