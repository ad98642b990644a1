"""The finished runs of an ablation, seen as variants with several seeds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray

from hermnet.ablation.bootstrap import Bootstrap
from hermnet.ablation.collecting import group_errors, runs_table
from hermnet.ablation.folder import AblationFolder
from hermnet.errors import InputError
from hermnet.run.frame_errors import read_frame_errors
from hermnet.run.plots import read_curves

if TYPE_CHECKING:
    from pandas import DataFrame

Array = NDArray[np.float64]
ENERGY_UNITS = {
    "forces": "meV/Å",
    "energy": "meV",
    "energy_per_atom": "meV/atom",
    "stress": "meV/Å³",
}


@final
class Study:
    """What there is to report.

    Args:
        folder: of the ablation.

    Raises:
        InputError: if there is no ablation, or none of its runs is finished.
    """

    def __init__(self, folder: AblationFolder) -> None:
        self.folder = folder
        self.plan = folder.read_plan()
        self.table: DataFrame = runs_table(folder)
        self.finished: DataFrame = self.table[self.table["state"] == "finished"]
        if self.finished.empty:
            raise InputError(f"no run of {folder.path} is finished yet; nothing to report")
        there = set(self.finished["variant"])
        self.variants = [label for label in self.plan.variants if label in there]
        self._frames = {
            name: read_frame_errors(folder.run(name).frame_errors) for name in self.finished["run"]
        }
        by_split = next(iter(self._frames.values()))
        tests = [split for split in by_split if split not in ("train", "val", "predict")]
        self.splits = tests or [split for split in ("val", "train") if split in by_split][:1]
        self.split = self.splits[0]
        self.targets = _targets(list(by_split[self.split]))

    @property
    def baseline(self) -> str | None:
        """Label of the baseline; None where it has no finished run."""
        return self.plan.baseline if self.plan.baseline in self.variants else None

    @property
    def target(self) -> str:
        """What decides: the forces, or the first that there is."""
        return self.targets[0]

    def unit(self, target: str) -> str:
        """The unit of a target's errors; properties have their data's."""
        return ENERGY_UNITS.get(target, "")

    def runs(self, variant: str) -> list[str]:
        """The finished runs of a variant."""
        rows = self.finished[self.finished["variant"] == variant]
        return list(rows["run"])

    def unfinished(self) -> DataFrame:
        """The runs that are missing, started or failed."""
        return self.table[self.table["state"] != "finished"]

    def mean_std(self, variant: str, column: str) -> tuple[float, float]:
        """Mean and standard deviation over seeds of a column of the table; NaN where unknown."""
        if column not in self.finished:
            return float("nan"), float("nan")
        values = self.finished.loc[self.finished["variant"] == variant, column].to_numpy(float)
        return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else float("nan")

    def column(self, target: str, split: str | None = None, kind: str = "mae") -> str:
        """The column of a target's error."""
        return f"{split or self.split}_{target}_{kind}"

    @cached_property
    def bootstrap(self) -> Bootstrap:
        """Resampled errors of the deciding target on the first test set."""
        return self.bootstrap_of(self.target, self.split)

    def bootstrap_of(self, target: str, split: str) -> Bootstrap:
        """Resampled errors of any target and test set."""
        return Bootstrap(
            {
                variant: [self._frames[run][split][target] for run in self.runs(variant)]
                for variant in self.variants
            }
        )

    def n_frames(self) -> int:
        """Frames of the first test set."""
        return len(next(iter(self._frames.values()))[self.split][self.target])

    def by_group(self, kind: str, variant: str) -> dict[str, tuple[float, int]]:
        """Force MAE (mean over seeds) and number of atoms, by element or relation."""
        found: dict[str, list[Any]] = {}
        for run in self.runs(variant):
            errors = group_errors(self.folder.run(run), self.split, kind)
            for label, error in errors.items():
                found.setdefault(label, []).append(error)
        return {
            label: (float(np.mean([one["mae"] for one in each])), int(each[0]["n_atoms"]))
            for label, each in found.items()
        }

    def curves(self, variant: str) -> list[Array]:
        """Epoch and validation error of the deciding target, (n_epochs, 2) for each seed."""
        column = f"val_{self.target}_mae"
        found = (read_curves(self.folder.run(run).metrics()) for run in self.runs(variant))
        return [curves[column] for curves in found if column in curves]


def _targets(there: Sequence[str]) -> list[str]:
    """Which targets to show, the deciding one first; energies per atom for crystals."""
    if "forces" not in there and "energy" not in there:
        return list(there)
    energy = "energy_per_atom" if "stress" in there else "energy"
    return [name for name in ("forces", energy, "stress") if name in there]
