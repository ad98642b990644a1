"""From a recipe and a grid to a plan: all recipes are resolved and all models built once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hermnet.ablation.grid import Grid, value_label
from hermnet.ablation.plan import Plan, Planned, PlannedRun, VariantPlan
from hermnet.ablation.trial import Trials, epochs_of
from hermnet.ablation.widths import solve_width
from hermnet.errors import InputError, InputErrors
from hermnet.recipes.config import Recipe, checked
from hermnet.recipes.source import read

_STEPS = 40  # training steps that equal time is measured with
_SLUG = re.compile(r"[^\w.,=+()-]+")
_WIDTHS = ("model.n_channels", "model.n_radial")
_FIXED = {"parameters": _WIDTHS, "time": ("trainer.max_epochs",), "steps": ("trainer.max_epochs",)}


@dataclass(frozen=True)
class Base:
    """The recipe that a grid varies: its name or path, and what was changed on the command line."""

    config: str
    overrides: Sequence[str] = ()

    def resolve(self, values: Mapping[str, Any]) -> Recipe:
        """The recipe with other values, by dotted key.

        Raises:
            InputErrors: everything that is wrong with it.
        """
        given = [f"{key}={json.dumps(value)}" for key, value in values.items()]
        tree = read(self.config, [*self.overrides, *given])
        tree.pop("grid", None)
        return checked(tree)


def make_plan(base: Base, grid: Grid, trials: Trials, earlier: Plan | None = None) -> Planned:
    """Resolve and build everything; nothing is written.

    Args:
        base: the recipe.
        grid: what is varied.
        trials: loads data and builds models.
        earlier: the plan of the same folder, whose equal widths and budgets are kept.

    Raises:
        InputErrors: everything that is wrong, with the runs that it is wrong for.
    """
    for key in _FIXED.get(grid.equal or "", ()):
        if key in grid.axes:
            raise InputError(f"grid: {key} is an axis, and equal {grid.equal} needs to choose it")
    variants = {grid.label(values): values for values in grid.variants()}
    recipes = _each(variants, base.resolve)
    _each(recipes, trials.data)
    equality = _Equality(base, grid, trials, recipes, earlier)
    changes = _each(recipes, equality.changes)
    final = _each(variants, lambda values: base.resolve({**values, **changes[grid.label(values)]}))
    parameters = _each(final, trials.n_parameters)
    plans = {label: VariantPlan(parameters[label], changes[label]) for label in variants}
    runs = tuple(_runs(grid, variants))
    by_run = {
        run.name: base.resolve(
            {**run.values, **changes[run.variant], "training.seed": run.seed, "name": run.name}
        )
        for run in runs
    }
    plan = Plan(base.config, grid, plans, runs, equality.target, tuple(base.overrides))
    return Planned(plan, by_run, tuple(equality.notes))


def _runs(grid: Grid, variants: Mapping[str, Mapping[str, Any]]) -> Iterable[PlannedRun]:
    names = _slugs(variants)
    for seed in grid.seeds:
        for label, values in variants.items():
            yield PlannedRun(f"{names[label]}-s{seed}", label, values, seed)


def _slugs(labels: Iterable[str]) -> dict[str, str]:
    """Names of folders, all different."""
    found: dict[str, str] = {}
    for label in labels:
        slug = _SLUG.sub("_", label)[:100]
        found[label] = slug if slug not in found.values() else f"{slug}_{len(found)}"
    return found


def _each(given: Mapping[str, Any], make: Any) -> dict[str, Any]:
    """`make` of each value; what is wrong for some is said once, with the variants it is wrong for.

    Raises:
        InputErrors: if it is for any.
    """
    made: dict[str, Any] = {}
    wrong: dict[str, list[str]] = {}
    for label, value in given.items():
        try:
            made[label] = make(value)
        except InputError as error:
            messages = error.messages if isinstance(error, InputErrors) else [str(error)]
            for message in messages:
                wrong.setdefault(message, []).append(label)
    if wrong:
        raise InputErrors(_told(wrong, len(given)))
    return made


def _told(wrong: Mapping[str, Sequence[str]], n_variants: int) -> list[str]:
    told = []
    for message, labels in wrong.items():
        every = len(labels) == n_variants
        told.append(message if every else f"run {', '.join(labels)}: {message}")
    return told


class _Equality:
    """Chooses widths or epochs so that variants are equal to the baseline."""

    def __init__(
        self,
        base: Base,
        grid: Grid,
        trials: Trials,
        recipes: Mapping[str, Recipe],
        earlier: Plan | None,
    ) -> None:
        self._base, self._grid, self._trials = base, grid, trials
        self._earlier = {} if earlier is None else earlier.variants
        self._labels = {id(recipe): label for label, recipe in recipes.items()}
        self.notes: list[str] = []
        first = recipes[grid.label(grid.baseline_variant())]
        self.target = earlier.target if earlier is not None else self._target(first)

    def _target(self, baseline: Recipe) -> float | None:
        grid, trials = self._grid, self._trials
        if grid.equal == "parameters":
            return trials.n_parameters(baseline)
        n_batches = trials.n_batches(baseline)
        if grid.equal == "steps":
            return grid.steps or round(epochs_of(baseline, n_batches) * n_batches)
        if grid.equal == "time":
            if grid.minutes is not None:
                return 60.0 * grid.minutes
            return epochs_of(baseline, n_batches) * trials.duration(baseline, _STEPS).epoch
        return None

    def changes(self, recipe: Recipe) -> dict[str, Any]:
        """The options that make a variant equal, by dotted key."""
        label = self._labels[id(recipe)]
        if label in self._earlier:
            return dict(self._earlier[label].changes)
        if self.target is None:
            return {}
        if self._grid.equal == "parameters":
            return self._widths(recipe, round(self.target))
        return self._epochs(recipe, label)

    def _widths(self, recipe: Recipe, target: int) -> dict[str, Any]:
        solved = solve_width(
            recipe.model, lambda options: self._trials.n_parameters(recipe, options), target
        )
        both = dict.fromkeys(_WIDTHS, (recipe.model, solved))
        found = {k: (getattr(a, k[6:]), getattr(b, k[6:])) for k, (a, b) in both.items()}
        return {key: after for key, (before, after) in found.items() if before != after}

    def _epochs(self, recipe: Recipe, label: str) -> dict[str, Any]:
        n_batches = self._trials.n_batches(recipe)
        if self._grid.equal == "steps":
            each = float(n_batches)
        else:
            each = self._trials.duration(recipe, _STEPS).epoch
        assert self.target is not None
        n_epochs = round(self.target / each)
        if n_epochs < 1:
            unit = "steps" if self._grid.equal == "steps" else "s"
            raise InputError(
                f"the equal budget of {self.target:.0f} {unit} is too small: an epoch takes "
                f"{each:.0f} {unit}"
            )
        changes = {"trainer.max_epochs": n_epochs, "trainer.max_steps": -1}
        self._check_schedule(recipe, changes, label)
        return changes

    def _check_schedule(self, recipe: Recipe, changes: dict[str, Any], label: str) -> None:
        values = next(v for v in self._grid.variants() if self._grid.label(v) == label)
        schedule = recipe.training.scheduler
        other = {**values, **changes, "trainer.max_epochs": changes["trainer.max_epochs"] + 1}
        if schedule is None or self._base.resolve(other).training.scheduler != schedule:
            return
        note = (
            f"{value_label('', schedule['class_path'])} does not follow the number of epochs; "
            "write ${trainer.max_epochs} where the recipe has it"
        )
        if note not in self.notes:
            self.notes.append(note)
