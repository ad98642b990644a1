"""The sections of a recipe, each held against the signature of what it configures.

Every function here appends what is wrong to `errors`, one line each with the dotted path, and goes
on, so that a user sees all of it at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from hermnet.classes import element_classes
from hermnet.datamodule import DATAMODULES
from hermnet.envelopes import make_envelope
from hermnet.errors import InputError, InputErrors, nearest
from hermnet.model_options import ModelOptions
from hermnet.radial import make_radial_basis
from hermnet.readouts.names import FILLED, READOUTS, targets_of
from hermnet.recipes.class_path import build, locate
from hermnet.recipes.schema import check_options, with_defaults
from hermnet.registry import Registry
from hermnet.relational import Sharing
from hermnet.relations import SCHEMES
from hermnet.subnetwork import SUBNETS
from hermnet.training.loggers import check_name, is_name
from hermnet.training.options import TrainingOptions
from hermnet.training.precision import check_precision

S = TypeVar("S", ModelOptions, TrainingOptions)


def mapping(value: Any, path: str, errors: list[str]) -> dict[str, Any]:
    """A section's options; an empty section is one without options."""
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return dict(value)
    errors.append(f"{path}: expected a mapping of options, got {value!r}")
    return {}


def check_dataclass(target: type[S], given: Any, path: str, errors: list[str]) -> S | None:
    """The section as its dataclass, made of what is right with it; None when it refuses that."""
    values, found = check_options(target, mapping(given, path, errors), path)
    errors += found
    try:
        return target(**values)
    except InputError as error:
        errors += _messages(error, path)
    return None


def check_data(given: dict[str, Any], errors: list[str]) -> dict[str, Any]:
    """``name`` and all options of that data module."""
    if "name" not in given:
        errors.append(f"data.name: must be given; one of {', '.join(DATAMODULES.names())}")
        return given
    before = len(errors)
    options = _named(DATAMODULES, given, "data", errors)
    if len(errors) == before:
        try:  # an unread data module costs nothing and knows its ranges
            DATAMODULES.get(options["name"])(**{k: v for k, v in options.items() if k != "name"})
        except InputError as error:
            errors += _messages(error, "data")
    return options


def check_model(given: dict[str, Any], errors: list[str]) -> ModelOptions | None:
    """The model's options with every sub-network and the readout written out."""
    before = len(errors)
    subnet = given.get("subnet", ModelOptions.subnet)
    readout = _check_readout(given.get("readout", ModelOptions.readout), errors)
    checked = {**given, "subnet": _check_subnet(subnet, "model.subnet", errors), "readout": readout}
    has_readout = not any(error.startswith("model.readout") for error in errors[before:])
    model = check_dataclass(ModelOptions, checked, "model", errors)
    if model is not None and has_readout:
        errors += _readout_errors(model)
    if model is not None:
        errors += _part_errors(model)
    return model


def check_training(given: dict[str, Any], errors: list[str]) -> TrainingOptions | None:
    """The training's options; optimizer and scheduler are mappings with ``class_path``."""
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    checked, before = dict(given), len(errors)
    kinds = {"optimizer": (Optimizer, "params"), "scheduler": (LRScheduler, "optimizer")}
    for key, (base, filled) in kinds.items():
        if checked.get(key) is not None:
            path = f"training.{key}"
            checked[key] = _check_class_path(checked[key], base, path, errors, (filled,))
    training = check_dataclass(TrainingOptions, checked, "training", errors)
    if training is not None and len(errors) == before:
        errors += _range_errors(training)
    return training


def check_trainer(given: dict[str, Any], errors: list[str]) -> dict[str, Any]:
    """Arguments of Lightning's Trainer, without its defaults: those are its own business."""
    from pytorch_lightning import Callback, Trainer

    lists: dict[str, Any] = {}
    if isinstance(given.get("callbacks"), list):
        lists["callbacks"] = [
            _check_class_path(spec, Callback, f"trainer.callbacks[{index}]", errors)
            for index, spec in enumerate(given["callbacks"])
        ]
    loggers = given.get("logger")
    if isinstance(loggers, list):
        lists["logger"] = [
            _check_logger(spec, f"trainer.logger[{index}]", errors)
            for index, spec in enumerate(loggers)
        ]
    elif isinstance(loggers, str | Mapping):
        lists["logger"] = _check_logger(loggers, "trainer.logger", errors)
    others = {key: value for key, value in given.items() if key not in lists}
    values, found = check_options(Trainer, others, "trainer")
    errors += found
    try:
        check_precision(values.get("precision"))
    except InputError as error:
        errors.append(str(error))
    return {**values, **lists}


def _check_logger(spec: Any, path: str, errors: list[str]) -> Any:
    """A logger's name, or ``class_path`` and arguments."""
    from pytorch_lightning.loggers import Logger

    if not is_name(spec):
        return _check_class_path(spec, Logger, path, errors)
    try:
        check_name(spec)
    except InputError as error:
        errors.append(f"{path}: {error}")
    return spec


def check_together(model: ModelOptions, training: TrainingOptions, errors: list[str]) -> None:
    """What training asks of the model, both accepted on their own."""
    names = [target.name for target in targets_of(model)]
    for name in training.target_weights:
        if name not in names:
            errors.append(f"training.target_weights: no target '{name}'; {nearest(name, names)}")
    if names and not any(training.target_weights.get(name, 1.0) for name in names):
        errors.append("training.target_weights: one must be positive")
    if names and training.compile is True:
        errors.append("training.compile: only energies can be compiled; set it to false")


def _check_readout(spec: Any, errors: list[str]) -> Any:
    """A readout with all of its options; ``energy``, which has none, stays a word."""
    if isinstance(spec, str):
        spec = {"name": spec}
    if not isinstance(spec, Mapping) or "name" not in spec:
        errors.append(
            f"model.readout: expected a readout's name, or 'name' with its options; got {spec!r}"
        )
        return ModelOptions.readout
    name, options = str(spec["name"]), {k: v for k, v in spec.items() if k != "name"}
    if name not in READOUTS:
        errors.append(f"model.readout: unknown '{name}'; {nearest(name, READOUTS)}")
        return ModelOptions.readout
    values, found = check_options(READOUTS[name], options, "model.readout", FILLED)
    errors += found
    written = with_defaults(READOUTS[name], values, FILLED)
    return {"name": name, **written} if written else name


def _readout_errors(model: ModelOptions) -> list[str]:
    """What the readout says against its options."""
    try:
        targets_of(model)
    except InputError as error:
        return _messages(error, "model.readout")
    return []


def _check_subnet(spec: Any, path: str, errors: list[str], *, by_relation: bool = True) -> Any:
    """A sub-network with all of its options, or such for each relation and ``default``."""
    if isinstance(spec, str):
        spec = {"name": spec}
    if isinstance(spec, Mapping) and "name" in spec:
        return _named(SUBNETS, spec, path, errors, skip=("shape",))
    if by_relation and isinstance(spec, Mapping) and "default" in spec:
        return {
            str(label): _check_subnet(one, f"{path}.{label}", errors, by_relation=False)
            for label, one in spec.items()
        }
    also = ", or relations with one of these each and 'default' for the rest" if by_relation else ""
    errors.append(
        f"{path}: expected a sub-network's name, or 'name' with its options{also}; got {spec!r}"
    )
    return {}


def _named(
    registry: Registry[Any],
    given: Mapping[str, Any],
    path: str,
    errors: list[str],
    skip: tuple[str, ...] = (),
) -> dict[str, Any]:
    """``name`` and all options of the class that the registry has under it."""
    name = str(given["name"])
    options = {key: value for key, value in given.items() if key != "name"}
    try:
        target = registry.get(name)
    except InputError as error:
        errors.append(f"{path}.name: {error}")
        return {"name": name, **options}
    values, found = check_options(target, options, path, skip)
    errors += found
    return {"name": name, **with_defaults(target, values, skip)}


def _check_class_path(
    spec: Any, base: type, path: str, errors: list[str], filled: tuple[str, ...] = ()
) -> Any:
    """``class_path`` and arguments; `filled` are the parameters that the program gives."""
    if isinstance(spec, str):
        spec = {"class_path": spec}
    if not isinstance(spec, Mapping) or "class_path" not in spec:
        errors.append(f"{path}: expected a mapping with 'class_path', got {spec!r}")
        return {}
    options = {key: value for key, value in spec.items() if key != "class_path"}
    try:
        target: type = locate(spec["class_path"], base)
    except InputError as error:
        errors.append(f"{path}.class_path: {error}")
        return dict(spec)
    values, found = check_options(target, options, path, filled)
    errors += found
    return {"class_path": spec["class_path"], **values}


def _range_errors(training: TrainingOptions) -> list[str]:
    """What optimizer and scheduler say against their arguments, tried on one small parameter."""
    from torch import nn, zeros
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    path = "training.optimizer"
    try:
        trial = [nn.Parameter(zeros(2, 2))]
        optimizer = build(training.optimizer, Optimizer, trial)
        if training.scheduler is not None:
            path = "training.scheduler"
            build(training.scheduler, LRScheduler, optimizer)
    except InputError as error:
        return _messages(error, path)
    return []


def _part_errors(model: ModelOptions) -> list[str]:
    """What the parts of a potential say against their options, before there are any data."""
    errors = []
    if model.relations not in SCHEMES:
        hint = nearest(model.relations, SCHEMES)
        errors.append(f"model.relations: unknown '{model.relations}'; {hint}")
    parts: dict[str, Callable[[], object]] = {
        "model.sharing": lambda: Sharing.parse(model.sharing),
        "model.classes": lambda: element_classes(model.classes, ()),
        "model.radial": lambda: make_radial_basis(model.radial, model.n_radial, model.cutoff),
        "model.envelope": lambda: make_envelope(model.envelope, model.cutoff),
    }
    for path, make in parts.items():
        try:
            make()
        except InputError as error:
            errors += _messages(error, path)
    return errors


def _messages(error: InputError, path: str) -> list[str]:
    """What was refused, with the path in front: ``data`` and ``split must ...`` are data.split."""
    found = []
    for message in error.messages if isinstance(error, InputErrors) else [str(error)]:
        if message.startswith((f"{path}.", f"{path}:")):
            found.append(message)
        else:
            names_option = re.match(r"\w+( must |:)", message)
            found.append(f"{path}.{message}" if names_option else f"{path}: {message}")
    return found
