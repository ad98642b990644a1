"""An ablation from plan to report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from hermnet.ablation.cluster import run_there
from hermnet.ablation.collecting import runs_table
from hermnet.ablation.folder import AblationFolder
from hermnet.ablation.grid import Grid, from_section, overridden, seeds_of
from hermnet.ablation.plan import Planned
from hermnet.ablation.planning import Base, make_plan
from hermnet.ablation.pool import gpus, n_at_a_time, run_here
from hermnet.ablation.progress import Progress
from hermnet.ablation.report import write_report
from hermnet.ablation.trial import Trials
from hermnet.errors import InputErrors
from hermnet.recipes.source import read
from hermnet.training.pace import duration

if TYPE_CHECKING:
    from pandas import DataFrame

_ESTIMATE = 10  # training steps that an estimate of the time is made from


@dataclass(frozen=True)
class Where:
    """Where runs are done.

    Attributes:
        jobs: how many at a time; None for one on each GPU, else as many as there are cores.
        cluster: ``slurm`` for an array of jobs there; None for this machine.
        options: of the cluster's jobs.
    """

    jobs: int | None = None
    cluster: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


def ablate(
    config: str,
    grid: Mapping[str, Any] | None = None,
    *,
    seeds: int | Sequence[int] | None = None,
    equal: str | None = None,
    overrides: Sequence[str] = (),
    output: str | Path | None = None,
    jobs: int | None = None,
    cluster: Mapping[str, Any] | None = None,
) -> DataFrame:
    """Do all runs of a grid, write the report, and return one row for each run.

    What is finished in the folder is kept, and what was interrupted goes on.

    Args:
        config: name or path of a recipe, possibly with a section ``grid``.
        grid: what a section ``grid`` may hold, such as ``{"model.relations": ["none", "vertex"]}``
            and ``baseline``; it joins or replaces what the recipe has.
        seeds: how many, or which.
        equal: parameters, time or steps.
        overrides: of the recipe, such as ``trainer.max_epochs=20``.
        output: folder; by default ``runs/ablations/<name of the recipe>``.
        jobs: runs at a time; by default one on each GPU, or as many as there are cores.
        cluster: ``{"name": "slurm"}`` and options of submitit: the runs are an array of jobs there.

    Returns:
        The table of `hermnet.ablation.collecting.runs_table`.

    Raises:
        InputError: for a grid that makes no sense, another ablation in the folder.
        InputErrors: for runs that cannot be built (nothing is written then), or that have failed,
            after the report on the others is written.
    """
    given = from_section(grid)
    settings = {key: value for key, value in given.items() if key != "axes"}
    settings |= {} if seeds is None else {"seeds": seeds_of(seeds)}
    settings |= {} if equal is None else {"equal": equal}
    options = dict(cluster or {})
    where = Where(jobs, options.pop("name", None), options)
    return Ablation.of(config, overrides, given["axes"], output, settings).run(where)


@final
@dataclass(frozen=True)
class Ablation:
    """A recipe, a grid and a folder.

    Attributes:
        base: the recipe.
        grid: what is varied.
        folder: where everything goes.
    """

    base: Base
    grid: Grid
    folder: AblationFolder

    @classmethod
    def of(
        cls,
        config: str,
        overrides: Sequence[str],
        axes: Mapping[str, Sequence[Any]],
        output: str | Path | None,
        settings: Mapping[str, Any],
    ) -> Ablation:
        """From a recipe and what was given besides; arguments and errors are those of `ablate`."""
        tree = read(config, overrides)
        grid = overridden(from_section(tree.get("grid")), axes, **settings)
        path = Path(output) if output is not None else Path("runs/ablations") / str(tree["name"])
        return cls(Base(config, tuple(overrides)), grid, AblationFolder(path))

    def plan(self, trials: Trials) -> Planned:
        """Resolve and build everything, and compare it with what is in the folder."""
        earlier = self.folder.read_plan() if self.folder.plan.is_file() else None
        same = earlier is not None and earlier.grid.equal == self.grid.equal
        planned = make_plan(self.base, self.grid, trials, earlier if same else None)
        self.folder.check(planned)
        return planned

    def dry_run(self, where: Where) -> list[str]:
        """The runs, their parameters and how long they will take, as lines to print."""
        trials = Trials()
        planned = self.plan(trials)
        jobs, _ = self._jobs(planned, where)
        rows, left = [], []
        for run in planned.plan.runs:
            recipe = planned.recipes[run.name]
            seconds = trials.duration(recipe, _ESTIMATE).total
            state = self.folder.state(run.name)
            if state != "finished":
                left.append(seconds)
            rows.append(
                f"{run.name:36} {planned.plan.variants[run.variant].parameters:>11,} parameters  "
                f"{recipe.model.n_channels:>4} channels  about {duration(seconds):>9}  {state}"
            )
        total = duration(sum(left) / jobs)
        return [
            *(f"note: {note}" for note in planned.notes),
            *rows,
            f"{len(rows)} runs, {len(left)} to do, {jobs} at a time: about {total}",
        ]

    def run(self, where: Where) -> DataFrame:
        """Do what is not finished and write the report; see `ablate`."""
        lock = self.folder.new_lock()
        lock.check()
        planned = self.plan(Trials())
        jobs, devices = self._jobs(planned, where)
        try:
            self.folder.take(lock)
            self.folder.check(planned)  # what another process may have written meanwhile
            self.folder.write(planned)
            for note in planned.notes:
                print(f"note: {note}")
            self._do(planned, where, jobs, devices)
            table = runs_table(self.folder)
            if (table["state"] == "finished").any():
                paths = write_report(self.folder)
                print(f"report: {' '.join(map(str, paths))}", flush=True)
        finally:
            lock.release()
        failed = table[table["state"] == "failed"]
        if len(failed):
            raise InputErrors(
                f"run {row['run']} failed: {row['message']} (log: {self.folder.log(row['run'])})"
                for _, row in failed.iterrows()
            )
        return table

    def _jobs(self, planned: Planned, where: Where) -> tuple[int, list[str]]:
        """How many runs at a time, and the GPUs for them."""
        recipes = list(planned.recipes.values())
        wants_gpu = all(r.trainer.get("accelerator", "auto") != "cpu" for r in recipes)
        devices = gpus() if wants_gpu and where.cluster is None else []
        threads = recipes[0].training.threads
        asked = where.jobs
        if asked is None and where.cluster is not None:
            asked = len(recipes)
        return min(n_at_a_time(asked, threads, devices), len(recipes)), devices

    def _do(self, planned: Planned, where: Where, jobs: int, devices: Sequence[str]) -> None:
        names = [run.name for run in planned.plan.runs]
        left = [name for name in names if self.folder.state(name) != "finished"]
        print(
            f"{len(names)} runs in {self.folder.path}, {len(left)} to do, {jobs} at a time",
            flush=True,
        )
        if not left:
            return
        path = str(self.folder.path)
        with Progress(len(names), len(left), jobs) as progress:
            if where.cluster is None:
                run_here(path, left, jobs, devices, progress.tell)
            else:
                run_there(path, left, jobs, where.cluster, where.options, progress.tell)
