"""An ablation's folder: what lies where, and how far its runs are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from omegaconf import OmegaConf

from hermnet.ablation.plan import Plan, Planned
from hermnet.errors import InputError
from hermnet.host.atomic import reason, write_atomically
from hermnet.host.lock import Lock
from hermnet.recipes.config import Recipe
from hermnet.run.folder import RunFolder

State = Literal["finished", "failed", "started", "missing"]
_NAMED = 3  # differences in a message


@dataclass(frozen=True)
class Status:
    """How a run ended.

    Attributes:
        code: exit code of the run.
        seconds: how long it took, all starts together.
        message: the last thing it said, if it failed.
    """

    code: int
    seconds: float
    message: str = ""


@dataclass(frozen=True)
class AblationFolder:
    """The files of one ablation.

    Attributes:
        path: the folder.
    """

    path: Path

    @property
    def plan(self) -> Path:
        """The plan, as JSON."""
        return self.path / "plan.json"

    @property
    def lock(self) -> Path:
        """The file that the process holds which works here."""
        return self.path / ".lock"

    def recipe(self, name: str) -> Path:
        """The recipe of a run."""
        return self.path / "recipes" / f"{name}.yaml"

    def run(self, name: str) -> RunFolder:
        """The folder of a run."""
        return RunFolder(self.path / "runs" / name)

    def log(self, name: str) -> Path:
        """What a run says."""
        return self.path / "logs" / f"{name}.log"

    def _status(self, name: str) -> Path:
        return self.path / "status" / f"{name}.json"

    def new_lock(self) -> Lock:
        """A lock on the folder, not yet taken."""
        return Lock(self.lock, "another folder with --output")

    def read_plan(self) -> Plan:
        """The plan.

        Raises:
            InputError: if there is none.
        """
        try:
            return Plan.from_json(self.plan.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"{self.path} is no ablation's folder: it has no plan.json") from error
        except InputError as error:
            raise InputError(f"{self.plan}: {error}") from error

    def take(self, lock: Lock) -> None:
        """Make the folder and hold its lock.

        Raises:
            InputError: if another process holds it, or the folder cannot be written to.
        """
        try:
            for name in ("recipes", "logs", "status"):
                (self.path / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot write to {self.path}: {reason(error)}") from error
        lock.acquire()

    def write(self, planned: Planned) -> None:
        """Write the plan and the recipe of each run; the lock is held.

        Raises:
            InputError: if the folder cannot be written to.
        """
        for name, recipe in planned.recipes.items():
            write_atomically(self.recipe(name), recipe.to_yaml())
        write_atomically(self.plan, planned.plan.to_json())

    def check(self, planned: Planned) -> None:
        """Refuse to continue another ablation: what is there must be a part of this one.

        Raises:
            InputError: it says in what they differ.
        """
        if not self.plan.is_file():
            return
        earlier, grid = self.read_plan().grid, planned.plan.grid
        there = f"{self.path} holds another ablation"
        advice = "choose another folder with --output"
        if set(earlier.axes) != set(grid.axes):
            raise InputError(f"{there}, of {', '.join(earlier.axes)}; {advice}")
        if earlier.equal != grid.equal:
            raise InputError(f"{there}, with equal {earlier.equal or 'nothing'}; {advice}")
        if grid.equal and earlier.baseline_variant() != grid.baseline_variant():
            was = earlier.label(earlier.baseline_variant())
            raise InputError(f"{there}, equal to the baseline {was}; {advice}")
        for name, recipe in planned.recipes.items():
            changed = self._changed(name, recipe)
            if changed:
                raise InputError(f"{there}: {', '.join(changed)} of run {name} differ; {advice}")

    def _changed(self, name: str, recipe: Recipe) -> list[str]:
        if not self.recipe(name).is_file():
            return []
        text = self.recipe(name).read_text(encoding="utf-8")
        before = _flat(OmegaConf.to_container(OmegaConf.create(text)))
        now = _flat(recipe.to_dict())
        keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        return keys[:_NAMED]

    def status(self, name: str) -> Status | None:
        """How a run ended; None where it did not."""
        try:
            return Status(**json.loads(self._status(name).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def write_status(self, name: str, status: Status) -> None:
        """Say how a run ended."""
        write_atomically(self._status(name), json.dumps(asdict(status)) + "\n")

    def state(self, name: str) -> State:
        """How far a run is."""
        status, run = self.status(name), self.run(name)
        if status is not None and status.code != 0:
            return "failed"
        if status is not None and run.results.is_file() and run.frame_errors.is_file():
            return "finished"
        return "started" if run.recipe.is_file() else "missing"


def _flat(tree: Any, path: str = "") -> dict[str, Any]:
    """The leaves of nested mappings by dotted key."""
    if not isinstance(tree, Mapping) or not tree:
        return {path: tree}
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= _flat(value, f"{path}.{key}" if path else str(key))
    return found
