"""What is varied: recipe options and their values, seeds, and what has to be equal."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from hermnet.errors import InputError, nearest

EQUALS = ("parameters", "time", "steps")
_SETTINGS = ("seeds", "equal", "baseline", "minutes", "steps")
_KEY = re.compile(r"[^\s=.]+(\.[^\s=.]+)+")
Values = Mapping[str, Any]  # by dotted key


@dataclass(frozen=True)
class Grid:
    """A product of recipe options, each run with several seeds.

    Attributes:
        axes: the values of each option, by dotted key such as ``model.subnet``.
        seeds: values of ``training.seed``.
        equal: what all runs share besides their data: parameters, time, steps, or nothing.
        baseline: values of the variant that the others are compared with; for axes that it leaves
            out the first value.
        minutes: with equal time, how long each run trains; by default as the baseline does.
        steps: with equal steps, how many; by default those of the baseline.
    """

    axes: Mapping[str, Sequence[Any]]
    seeds: tuple[int, ...] = (0,)
    equal: str | None = None
    baseline: Values = field(default_factory=dict)
    minutes: float | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        if not self.axes or not all(self.axes.values()):
            empty = ", ".join(key for key, values in self.axes.items() if not values)
            raise InputError(
                f"the grid is empty{f' for {empty}' if empty else ''}: give "
                "--grid section.option=value,value or a section 'grid' in the recipe"
            )
        for key, values in self.axes.items():
            labels = [value_label(key, value) for value in values]
            twice = next((label for label in labels if labels.count(label) > 1), None)
            if twice is not None:
                raise InputError(f"grid: {key} has the value {twice} twice")
        if "training.seed" in self.axes:
            raise InputError("grid: training.seed is no axis; give --seeds")
        if self.equal is not None and self.equal not in EQUALS:
            raise InputError(f"grid: equal: unknown '{self.equal}'; {nearest(self.equal, EQUALS)}")
        for name, kind in (("minutes", "time"), ("steps", "steps")):
            value = getattr(self, name)
            if value is not None and (self.equal != kind or value <= 0):
                raise InputError(f"grid: {name} is a positive number and holds for equal: {kind}")
        self._check_seeds()
        self._check_baseline()

    def _check_seeds(self) -> None:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise InputError(
                f"grid: seeds: a number of seeds, or a list of different ones, not {self.seeds}"
            )

    def _check_baseline(self) -> None:
        for key, value in self.baseline.items():
            if key not in self.axes:
                raise InputError(f"grid: baseline: no axis '{key}'; {nearest(key, self.axes)}")
            if value not in self.axes[key]:
                known = [value_label(key, one) for one in self.axes[key]]
                label = value_label(key, value)
                raise InputError(f"grid: baseline: {key}={label}; {nearest(label, known)}")

    def variants(self) -> list[dict[str, Any]]:
        """The product of the axes: values by key, the last axis varying fastest."""
        products = itertools.product(*self.axes.values())
        return [dict(zip(self.axes, values, strict=True)) for values in products]

    def baseline_variant(self) -> dict[str, Any]:
        """The variant that the others are compared with."""
        return {key: self.baseline.get(key, values[0]) for key, values in self.axes.items()}

    def label(self, values: Values) -> str:
        """A variant's name, such as ``painn-vertex``."""
        return "-".join(value_label(key, values[key]) for key in self.axes)


def value_label(key: str, value: Any) -> str:
    """A value in a name or table: a word as it is, a number or truth value after its option."""
    if isinstance(value, Mapping):
        inner = {k: v for k, v in value.items() if k != "name"}
        shown = ",".join(f"{k}={value_label('', v)}" for k, v in inner.items())
        name = str(value.get("name", ""))
        return f"{name}({shown})" if name and shown else name or shown
    if isinstance(value, str):
        return value
    text = "null" if value is None else json.dumps(value)
    option = key.rpartition(".")[2]
    return f"{option}={text}" if option else text


def from_section(section: Any) -> dict[str, Any]:
    """Arguments of `Grid` from a recipe's ``grid`` section: dotted keys are axes.

    Raises:
        InputError: for an unknown setting, or values that are no list.
    """
    if section is None:
        return {"axes": {}}
    if not isinstance(section, Mapping):
        raise InputError(f"grid: expected a mapping from options to values, got {section!r}")
    axes: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    for key, value in section.items():
        if _KEY.fullmatch(str(key)):
            axes[key] = list(value) if isinstance(value, list) else [value]
        elif key in _SETTINGS:
            settings[key] = value
        else:
            hint = nearest(str(key), _SETTINGS)
            raise InputError(f"grid: '{key}' is neither section.option nor a setting; {hint}")
    baseline = settings.get("baseline", {})
    if not isinstance(baseline, Mapping):
        raise InputError(f"grid: baseline: a mapping from options to values, not {baseline!r}")
    if "seeds" in settings:
        settings["seeds"] = seeds_of(settings["seeds"])
    return {"axes": axes, **settings}


def from_texts(texts: Iterable[str]) -> dict[str, list[Any]]:
    """Axes from the command line, such as ``model.subnet=painn,schnet``; values are YAML.

    Raises:
        InputError: for something else.
    """
    axes: dict[str, list[Any]] = {}
    for text in texts:
        key, equals, values = text.partition("=")
        if not equals or not _KEY.fullmatch(key):
            raise InputError(f"--grid '{text}': write section.option=value,value")
        try:
            axes[key] = list(yaml.safe_load(f"[{values}]"))
        except yaml.YAMLError as error:
            problem = getattr(error, "problem", None) or "they cannot be read"
            raise InputError(f"--grid '{text}': the values are not YAML: {problem}") from None
    return axes


def seeds_of(given: Any) -> tuple[int, ...]:
    """Seeds from their number or a list of them.

    Raises:
        InputError: if it is neither.
    """
    if isinstance(given, int) and not isinstance(given, bool) and given > 0:
        return tuple(range(given))
    is_list = isinstance(given, Sequence) and not isinstance(given, str) and bool(given)
    if is_list and all(isinstance(seed, int) and not isinstance(seed, bool) for seed in given):
        return tuple(given)
    raise InputError(f"grid: seeds: a number of seeds, or a list of different ones, not {given!r}")


def overridden(grid: Mapping[str, Any], axes: Mapping[str, Any], **settings: Any) -> Grid:
    """A grid from a recipe's section and what was given besides, which goes first.

    Args:
        grid: arguments of `Grid`, from `from_section`.
        axes: replace or join those of the section.
        **settings: other arguments; None leaves the section's.
    """
    given = {key: value for key, value in settings.items() if value is not None}
    base = {key: value for key, value in grid.items() if key != "axes"}
    if given.get("equal") not in (None, base.get("equal")):  # budgets of another kind
        base = {key: value for key, value in base.items() if key not in ("minutes", "steps")}
    joined = {**grid["axes"], **axes}
    kept = {
        key: value
        for key, value in base.get("baseline", {}).items()
        if key not in axes or value in axes[key]
    }
    return replace(Grid(joined, **{**base, "baseline": kept, **given}))
