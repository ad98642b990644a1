"""A run's folder: what lies where, and what may be replaced."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hermnet.errors import InputError


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
    def results(self) -> Path:
        """The final errors, as JSON."""
        return self.path / "results.json"

    @property
    def learning_curve(self) -> Path:
        """The picture of training loss and validation errors."""
        return self.path / "learning_curve.png"

    @property
    def parity(self) -> Path:
        """The picture of predictions against labels."""
        return self.path / "parity.png"

    @property
    def predictions(self) -> Path:
        """Where `predict` writes by default."""
        return self.path / "predictions.xyz"

    def metrics(self) -> list[Path]:
        """The CSV logs, one for each time the run was started or resumed."""
        return sorted(self.path.glob("csv_*/metrics.csv"))

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

    def prepare(self, overwrite: bool, resume: bool) -> None:
        """Make the folder, or refuse to touch another run's files.

        Raises:
            InputError: if there is a run already and neither flag is set, or none to resume.
        """
        exists = self.checkpoints.is_dir() and any(self.checkpoints.iterdir())
        if exists and not (overwrite or resume):
            raise InputError(
                f"{self.path} holds a run already: continue it with --resume, replace it with "
                "--overwrite, or choose another folder with trainer.default_root_dir=..."
            )
        if exists and overwrite:
            self._remove_run()
        self.checkpoints.mkdir(parents=True, exist_ok=True)

    def _remove_run(self) -> None:
        """Remove a run's own files and nothing else."""
        for folder in (self.checkpoints, *self.path.glob("csv_*"), *self.path.glob("tensorboard_*")):
            shutil.rmtree(folder, ignore_errors=True)
        for file in (self.recipe, self.results, self.learning_curve, self.parity):
            file.unlink(missing_ok=True)
