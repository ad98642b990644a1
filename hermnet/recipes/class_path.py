"""Objects of torch and Lightning that a recipe names by ``class_path``.

Optimizers, schedulers, callbacks and loggers are too many to be registered, so a recipe gives
their import path. Only torch.optim and pytorch_lightning are looked into: a stranger's recipe runs
no code that is not part of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, TypeVar

from hermnet.errors import InputError, nearest

T = TypeVar("T")

HOMES = ("torch.optim", "pytorch_lightning")


def locate(class_path: object, base: type[T]) -> type[T]:
    """The class at `class_path`, which must be a kind of `base`.

    Args:
        class_path: such as ``torch.optim.AdamW``.
        base: such as `torch.optim.Optimizer`.

    Raises:
        InputError: it lies outside of torch.optim and pytorch_lightning, does not exist (with the
            nearest name of its module) or is something else.
    """
    module_name, _, name = str(class_path).rpartition(".")
    if not any(module_name == home or module_name.startswith(f"{home}.") for home in HOMES):
        raise InputError(
            f"'{class_path}' is not allowed; only classes of {' and '.join(HOMES)} are"
        )
    try:
        module = import_module(module_name)
    except ImportError:
        raise InputError(f"'{class_path}': there is no module {module_name}") from None
    known = {
        key: value
        for key, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, base) and not key.startswith("_")
    }
    known = {key: value for key, value in known.items() if value is not base}
    if name not in known:
        noun = base.__name__.lower()
        raise InputError(f"unknown {noun} '{class_path}'; {nearest(name, known)}")
    return known[name]


def build(spec: Mapping[str, Any], base: type[T], *arguments: object) -> T:
    """The object that `spec` describes.

    Args:
        spec: ``class_path`` and the keyword arguments of its ``__init__``.
        base: what it must be a kind of.
        *arguments: positional arguments that a recipe cannot give, such as the parameters.

    Raises:
        InputError: as `locate`, or the class refuses its arguments.
    """
    options = dict(spec)
    class_path = options.pop("class_path", None)
    cls = locate(class_path, base)
    try:
        return cls(*arguments, **options)
    except Exception as error:  # whatever a foreign class raises, the recipe's values are the cause
        raise InputError(f"{class_path}: {error}") from error
