"""Loggers by name, in the run's folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from pytorch_lightning.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from hermnet.errors import InputError, nearest
from hermnet.recipes.class_path import build
from hermnet.run.folder import RunFolder
from hermnet.training.metrics_log import MetricsLog

_PROJECT = "hermnet"  # on a server of logs


@dataclass(frozen=True)
class Place:
    """Where a run's logs go.

    Attributes:
        folder: of the run.
        name: of the run.
        start: how often the run was started before.
    """

    folder: RunFolder
    name: str
    start: int


def _csv(place: Place) -> Logger:
    path = place.folder.csv_log(place.start)
    # A version would be shown in the progress bar, where it says nothing.
    return MetricsLog(path.parent, name=path.name, version="")


def _tensorboard(place: Place) -> Logger:
    path = place.folder.tensorboard_log(place.start)
    return TensorBoardLogger(path.parent, name=path.name, version="")


def _wandb(place: Place) -> Logger:
    project = os.environ.get("WANDB_PROJECT", _PROJECT)
    return WandbLogger(name=place.name, project=project, save_dir=place.folder.path)


def _mlflow(place: Place) -> Logger:
    folder = place.folder.path.absolute()
    given = os.environ.get("MLFLOW_TRACKING_URI")
    return MLFlowLogger(
        experiment_name=os.environ.get("MLFLOW_EXPERIMENT_NAME", _PROJECT),
        run_name=place.name,
        # MLflow 3 does not write plain files any more
        tracking_uri=given or f"sqlite:///{folder / 'mlflow.db'}",
        artifact_location=None if given else (folder / "mlruns").as_uri(),
    )


LOGGERS: dict[str, Callable[[Place], Logger]] = {
    "csv": _csv,
    "mlflow": _mlflow,
    "tensorboard": _tensorboard,
    "wandb": _wandb,
}
DEFAULT = ("csv", "tensorboard")
_PACKAGES = {"mlflow": "mlflow", "wandb": "wandb"}  # that HermNet does not bring along


def is_name(spec: object) -> bool:
    """Whether a recipe means a logger by its name, and not a class by its path."""
    return isinstance(spec, str) and "." not in spec


def check_name(name: str) -> None:
    """Refuse a name that no logger has.

    Raises:
        InputError: with the nearest name.
    """
    if name not in LOGGERS:
        raise InputError(f"unknown logger '{name}'; {nearest(name, LOGGERS)}")


def check_installed(given: Any) -> None:
    """Refuse loggers whose package is missing; `given` is the recipe's ``trainer.logger``.

    Raises:
        InputError: it says what to install.
    """
    for spec in _listed(given):
        package = _PACKAGES.get(spec) if is_name(spec) else None
        if package is not None and find_spec(package) is None:
            raise InputError(
                f"trainer.logger: {spec} needs a package that is not installed; "
                f"pip install {package}"
            )


def make_loggers(given: Any, place: Place) -> Any:
    """Lightning's loggers, which have written nothing yet.

    Args:
        given: the recipe's ``trainer.logger``: a name, ``class_path`` with arguments, or a list of
            these; true or nothing for csv and tensorboard, false for none.
        place: where they write.

    Raises:
        InputError: for a missing package, or arguments that a logger refuses.
    """
    if given is False:
        return False
    check_installed(given)
    specs = DEFAULT if given in (None, True) else _listed(given)
    return [_logger(spec, place) for spec in specs]


def _logger(spec: Any, place: Place) -> Logger:
    if is_name(spec):
        return LOGGERS[spec](place)
    return build(spec, Logger)  # type: ignore[type-abstract]  # of a class below it


def _listed(given: Any) -> list[Any]:
    if isinstance(given, list):
        return given
    return [given] if isinstance(given, str | Mapping) else []
