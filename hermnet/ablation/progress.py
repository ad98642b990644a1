"""What a person sees while the runs of an ablation go on."""

from __future__ import annotations

import time
from typing import final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from hermnet.ablation.folder import Status
from hermnet.training.pace import duration


@final
class Progress:
    """A line for each run that has ended, and in a terminal a bar below them.

    Args:
        n_runs: of the ablation.
        n_left: that are to be done now.
        jobs: how many at a time.
    """

    def __init__(self, n_runs: int, n_left: int, jobs: int) -> None:
        self._n_runs, self._n_left, self._jobs = n_runs, n_left, jobs
        self._n_done = 0
        self._start = time.monotonic()
        self._console = Console()
        self._bar: Bar | None = None
        if self._console.is_interactive:
            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=self._console,
                transient=True,
            )
            self._task = self._bar.add_task("runs", total=n_runs, completed=n_runs - n_left)
            self._bar.start()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def tell(self, name: str, status: Status) -> None:
        """Say how a run ended, and how long the others will take."""
        self._n_done += 1
        rest = self._n_left - self._n_done
        each = (time.monotonic() - self._start) / self._n_done
        ended = "finished" if status.code == 0 else f"failed ({status.message})"
        count = f"[{self._n_runs - rest}/{self._n_runs}]"
        left = f"; {duration(each * rest)} left" if rest else ""
        line = f"{count} {name} {ended} after {duration(status.seconds)}{left}"
        if self._bar is None:
            print(line, flush=True)
            return
        self._bar.console.print(line, highlight=False, markup=False, soft_wrap=True)
        self._bar.advance(self._task)
