"""A plan: the runs of a grid, with the recipe of each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from hermnet.ablation.grid import Grid
from hermnet.errors import InputError
from hermnet.recipes.config import Recipe


@dataclass(frozen=True)
class PlannedRun:
    """One run of a plan.

    Attributes:
        name: of the run, its folder and its recipe.
        variant: label of its values.
        values: of the axes, by key.
        seed: of the initial weights.
    """

    name: str
    variant: str
    values: Mapping[str, Any]
    seed: int


@dataclass(frozen=True)
class VariantPlan:
    """What is the same for all seeds of a variant.

    Attributes:
        parameters: of the model.
        changes: options that equality changed, by dotted key.
    """

    parameters: int
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """The runs of a grid.

    Attributes:
        config: the recipe that it varies.
        grid: what is varied.
        variants: by label.
        runs: seed by seed, so that a first answer comes early.
        target: parameters, seconds or steps that are equal; None where nothing is.
        overrides: of the recipe.
    """

    config: str
    grid: Grid
    variants: Mapping[str, VariantPlan]
    runs: tuple[PlannedRun, ...]
    target: float | None = None
    overrides: tuple[str, ...] = ()

    @property
    def baseline(self) -> str:
        """Label of the variant that the others are compared with."""
        return self.grid.label(self.grid.baseline_variant())

    def to_json(self) -> str:
        """The plan as a file."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """The plan of a file.

        Raises:
            InputError: if it holds something else.
        """
        try:
            stored = json.loads(text)
            grid = stored["grid"] | {"seeds": tuple(stored["grid"]["seeds"])}
            return cls(
                stored["config"],
                Grid(**grid),
                {label: VariantPlan(**one) for label, one in stored["variants"].items()},
                tuple(PlannedRun(**run) for run in stored["runs"]),
                stored["target"],
                tuple(stored["overrides"]),
            )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(f"it does not hold the plan of an ablation: {error}") from error


@dataclass(frozen=True)
class Planned:
    """A plan with what it takes to start it.

    Attributes:
        plan: the plan.
        recipes: by run.
        notes: what a user should know, one sentence each.
    """

    plan: Plan
    recipes: Mapping[str, Recipe]
    notes: tuple[str, ...] = ()
