"""A run's folder: what lies where, and what may be replaced."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hermnet.errors import InputError
from hermnet.host.atomic import reason, remove_parts, write_atomically
from hermnet.host.lock import Lock


@dataclass(frozen=True)
class RunFolder:
    """The files of one run.

    Attributes:
        path: the folder.
    """

    path: Path

    @classmethod
    def of(cls, name: str, trainer: dict[str, Any]) -> RunFolder:
        """``trainer.default_root_dir`` where the recipe gives one, else ``runs/<name>``."""
        return cls(Path(trainer.get("default_root_dir") or Path("runs") / name))

    @property
    def recipe(self) -> Path:
        """The resolved recipe."""
        return self.path / "recipe.yaml"

    @property
    def splits(self) -> Path:
        """Which frames the run's random splits gave to each split, as JSON."""
        return self.path / "splits.json"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def best(self) -> Path:
        """The checkpoint with the smallest validation error."""
        return self.checkpoints / "best.ckpt"

    @property
    def last(self) -> Path:
        """The checkpoint to resume from."""
        return self.checkpoints / "last.ckpt"

    @property
    def lock(self) -> Path:
        """The file that the process holds which writes here."""
        return self.path / ".lock"

    @property
    def starts(self) -> Path:
        """Time, command, versions and data of each start and resume, as JSON."""
        return self.path / "starts.json"

    @property
    def non_finite(self) -> Path:
        """The folder of batches whose loss was no number."""
        return self.path / "non_finite"

    @property
    def results(self) -> Path:
        """The final errors, as JSON."""
        return self.path / "results.json"

    @property
    def cost(self) -> Path:
        """Time per step, parameters and memory, as JSON."""
        return self.path / "cost.json"

    @property
    def frame_errors(self) -> Path:
        """The errors of each frame, as npz."""
        return self.path / "frame_errors.npz"

    @property
    def learning_curve(self) -> Path:
        """The picture of training loss and validation errors."""
        return self.path / "learning_curve.png"

    @property
    def parity(self) -> Path:
        """The picture of predictions against labels."""
        return self.path / "parity.png"

    @property
    def element_errors(self) -> Path:
        """The errors of the forces by element and by relation, as JSON."""
        return self.path / "errors_by_element.json"

    @property
    def element_errors_picture(self) -> Path:
        """The picture of these."""
        return self.path / "errors_by_element.png"

    @property
    def predictions(self) -> Path:
        """Where `predict` writes by default."""
        return self.path / "predictions.xyz"

    @property
    def data_check(self) -> Path:
        """The picture of a check of the recipe's data."""
        return self.path / "data_check.png"

    def read_splits(self) -> dict[str, list[int]] | None:
        """The random splits of the run, or None where it has none.

        Raises:
            InputError: if the file holds something else.
        """
        if not self.splits.is_file():
            return None
        try:
            found = json.loads(self.splits.read_text(encoding="utf-8"))
            return {str(name): [int(index) for index in part] for name, part in found.items()}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise InputError(f"{self.splits} does not hold the run's splits: {error}") from error

    def write_splits(self, splits: Mapping[str, list[int]] | None) -> None:
        """Keep the random splits for later evaluations; without any do nothing."""
        if splits is not None:
            write_atomically(self.splits, json.dumps(splits) + "\n")

    def csv_log(self, start: int) -> Path:
        """Folder of the CSV log of the run's first start (0), first resume (1) and so on."""
        return self.path / f"csv_{start}"

    def tensorboard_log(self, start: int) -> Path:
        """The same for TensorBoard."""
        return self.path / f"tensorboard_{start}"

    def n_starts(self) -> int:
        """How many times the run has been started or resumed."""
        return 1 + max(self._starts(), default=-1)

    def metrics(self) -> list[Path]:
        """The CSV logs, one for each time the run was started or resumed, oldest first."""
        logs = [self.csv_log(start) / "metrics.csv" for start in sorted(self._starts())]
        return [log for log in logs if log.is_file()]

    def _starts(self) -> set[int]:
        names = [path.name for path in self.path.glob("*_*") if path.is_dir()]
        found = (re.fullmatch(r"(?:csv|tensorboard)_(\d+)", name) for name in names)
        return {int(match[1]) for match in found if match}

    def usable_checkpoint(self) -> Path:
        """The best checkpoint, or the last where nothing was validated.

        Raises:
            InputError: if there is neither.
        """
        for path in (self.best, self.last):
            if path.is_file():
                return path
        raise InputError(
            f"no checkpoint in {self.checkpoints}; run `hermnet fit` first or give --checkpoint"
        )

    def check(self, overwrite: bool, resume: bool) -> None:
        """Refuse to touch another run's files; nothing is written.

        Raises:
            InputError: if there is a run already and neither flag is set, or if both are, or if
                another process writes there.
        """
        if overwrite and resume:
            raise InputError(
                "give --resume or --overwrite, not both: one keeps what the other removes"
            )
        blocking = next((p for p in (self.path, *self.path.parents) if p.exists()), None)
        if blocking is not None and not blocking.is_dir():
            raise InputError(f"the run's folder cannot be {self.path}: {blocking} is a file")
        if self._has_run() and not (overwrite or resume):
            raise InputError(
                f"{self.path} holds a run already: continue it with --resume, replace it with "
                "--overwrite, or choose another folder with trainer.default_root_dir=..."
            )
        Lock(self.lock).check()

    def prepare(self, resume: bool, lock: Lock) -> None:
        """Make the folder; without `resume`, empty of what an earlier run left.

        Args:
            resume: whether the run that is there goes on.
            lock: on the folder; it is taken here, and the caller lets it go.

        Raises:
            InputError: if the folder cannot be written to, or another process writes there.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock.acquire()
            if not resume:
                self.clear()
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            remove_parts(self.checkpoints)
        except OSError as error:
            lock.release()
            raise InputError(f"cannot write to {self.path}: {reason(error)}") from error

    def clear(self) -> None:
        """Remove a run's own files and nothing else."""
        starts = range(self.n_starts())
        logs = [log(start) for start in starts for log in (self.csv_log, self.tensorboard_log)]
        for folder in (self.checkpoints, self.non_finite, *logs):
            if folder.is_dir():
                shutil.rmtree(folder)
        texts = (self.recipe, self.splits, self.starts, self.results, self.cost, self.predictions)
        pictures = (self.learning_curve, self.parity, self.element_errors_picture)
        for file in (*texts, self.frame_errors, self.element_errors, *pictures):
            file.unlink(missing_ok=True)

    def is_empty(self) -> bool:
        """Whether nothing of the run is worth keeping: no checkpoint, and no batch to look at."""
        return not (any(self.checkpoints.iterdir()) or self.non_finite.is_dir())

    def discard(self) -> None:
        """Remove a run that never came to anything, and the folder where nothing else is in it."""
        self.clear()
        self.lock.unlink(missing_ok=True)
        with suppress(OSError):  # it is not empty
            self.path.rmdir()

    def _has_run(self) -> bool:
        # A recipe alone is a run that ended before its first checkpoint, or a file of the user's.
        started = self.checkpoints.is_dir() and any(self.checkpoints.iterdir())
        return started or self.recipe.exists()


def recipe_of(path: str) -> tuple[str, str]:
    """The recipe file of the run in a folder, and the override that says where the folder is.

    Raises:
        InputError: if no run is there.
    """
    folder = RunFolder(Path(path))
    if not folder.path.is_dir():
        raise InputError(f"there is no folder {path}; give the folder of a run")
    if not folder.recipe.is_file():
        raise InputError(f"{path} is no run's folder: it has no {folder.recipe.name}")
    return str(folder.recipe), f"trainer.default_root_dir={json.dumps(path)}"
