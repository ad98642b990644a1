"""What a training step of `hermnet fit` does: its parts, its operators, and what it waits for.

A recipe is trained for some steps as `hermnet fit` would, with its callbacks. The report says

- how long each part of a step takes: the median over steps, by Lightning's own clock;
- which operators make the host look at a number or a size of the device (`counting.LOOKS`), and
  from which line: on an accelerator each of them waits for everything that was asked before;
- on a GPU, which lines waited for it in fact, as torch tells when it is asked to;
- which operators take most of the time.

    python benchmarks/profile_step.py --set data.batch_size=10
"""

from __future__ import annotations

import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import pytorch_lightning as pl
import torch
from measure import machine, parser
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.profilers import SimpleProfiler
from torch.profiler import ProfilerActivity, profile

from hermnet.recipes.config import Recipe, resolve
from hermnet.run.datasets import load_data
from hermnet.run.folder import RunFolder
from hermnet.run.workflows import workflow_of
from hermnet.training.task import PotentialTask
from hermnet.training.trainer import make_trainer, quiet

sys.path.insert(0, str(Path(__file__).parent / "peers"))
from counting import Traffic

_SKIPPED = 5  # steps at the start
_OURS = ("hermnet", "pytorch_lightning", "subnets", "datamodules")


class Looks(Traffic):
    """Traffic that remembers where the looks came from."""

    def __init__(self) -> None:
        super().__init__()
        self.places: Counter[str] = Counter()

    def looked(self, name: str) -> None:
        """Add the innermost line of this project or of Lightning."""
        for frame in reversed(traceback.extract_stack()):
            parts = Path(frame.filename).parts
            if any(folder in parts for folder in _OURS) and "counting.py" not in parts:
                start = next(k for k, part in enumerate(parts) if part in _OURS)
                place = "/".join(parts[start:])
                self.places[f"{name} in {place}: {frame.name}"] += 1
                return
        self.places[f"{name} elsewhere"] += 1


class Watching(Callback):
    """Enters a context for some whole steps, from the batch's copy to the end of the callbacks.

    Args:
        context: what to be in.
        n_steps: for how many.
    """

    def __init__(self, context: Any, n_steps: int) -> None:
        self._context = context
        self._end = _SKIPPED + n_steps
        self.inside = False

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        """Enter after the first steps and leave after the last; callbacks before it are inside."""
        if trainer.global_step == _SKIPPED:
            self.inside = True
            self._context.__enter__()
        elif trainer.global_step == self._end and self.inside:
            self._context.__exit__(None, None, None)
            self.inside = False


def train(recipe: Recipe, folder: Path, callback: Callback | None, profiler: Any) -> None:
    """Train as `hermnet fit` does, with one more callback."""
    data = load_data(recipe, None)
    workflow = workflow_of(recipe.model)
    model = workflow.new(recipe, data)
    objective = workflow.objective(model, recipe.training, data)
    task = PotentialTask(model, recipe.training, recipe.to_dict(), objective)
    with quiet():
        trainer = make_trainer(recipe, data, task, RunFolder(folder), resume=False)
        trainer.profiler = profiler or trainer.profiler
        if callback is not None:
            trainer.callbacks.append(callback)
        trainer.fit(task, datamodule=data)


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder that goes again."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def parts_of_a_step(recipe: Recipe, n_steps: int) -> list[str]:
    """Median milliseconds of what Lightning calls in every step."""
    profiler = SimpleProfiler()
    with scratch() as folder:
        train(recipe, folder, None, profiler)
    lines = []
    for name, durations in profiler.recorded_durations.items():
        if len(durations) >= n_steps + _SKIPPED - 1:
            lines.append((1e3 * median(durations[_SKIPPED:]), name))
    return [f"{ms:9.3f}  {name}" for ms, name in sorted(lines, reverse=True) if ms >= 0.02]


def looks_of_a_step(recipe: Recipe, n_steps: int) -> tuple[list[str], Looks]:
    """How often and where the host looks at the device, per step."""
    looks = Looks()
    with scratch() as folder:
        train(recipe, folder, Watching(looks, n_steps), None)
    lines = [f"{n / n_steps:9.2f}  {place}" for place, n in looks.places.most_common()]
    return lines or ["     none"], looks


class Waits:
    """Remembers, inside the ``with`` block, which lines waited for the GPU."""

    def __init__(self) -> None:
        self.places: Counter[str] = Counter()
        self._catcher = warnings.catch_warnings(record=True)

    def __enter__(self) -> None:
        self._caught = self._catcher.__enter__()
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")

    def __exit__(self, *_: object) -> None:
        torch.cuda.set_sync_debug_mode("default")
        self._catcher.__exit__(None, None, None)
        for warning in self._caught or ():
            if "synchronizing" in str(warning.message):
                self.places[f"{'/'.join(Path(warning.filename).parts[-3:])}:{warning.lineno}"] += 1


def waits_of_a_step(recipe: Recipe, n_steps: int) -> list[str]:
    """How often and where the host waited for the GPU, per step."""
    waits = Waits()
    with scratch() as folder:
        train(recipe, folder, Watching(waits, n_steps), None)
    lines = [f"{n / n_steps:9.2f}  {place}" for place, n in waits.places.most_common()]
    return lines or ["     none"]


def operators(recipe: Recipe, n_steps: int, n_shown: int = 15) -> list[str]:
    """The operators that take most time, by their own time per step."""
    profiled = profile(activities=[ProfilerActivity.CPU])
    with scratch() as folder:
        train(recipe, folder, Watching(profiled, n_steps), None)
    events = sorted(profiled.key_averages(), key=lambda e: -e.self_cpu_time_total)
    whole = sum(event.self_cpu_time_total for event in events)
    own = [(e, e.self_cpu_time_total) for e in events[:n_shown]]
    return [
        f"{time / n_steps / 1e3:9.3f}  {100 * time / whole:4.1f} %"
        f"  {e.count / n_steps:7.1f} calls  {e.key}"
        for e, time in own
    ]


def report(recipe: Recipe, given: Any) -> Iterator[str]:
    """All lines, those of each section as soon as they are known."""
    n, has_gpu = given.rounds, torch.cuda.is_available()
    about = machine(given.threads, torch.device("cuda" if has_gpu else "cpu"))
    where = about.get("gpu", f"{about['cpu']}, {given.threads} thread(s)")
    yield f"{recipe.name} {' '.join(given.set)}, {where}"
    yield "\nMilliseconds of the parts of a step (median; outer ones hold inner ones)"
    yield from parts_of_a_step(recipe, n)
    if has_gpu:
        yield "\nWaits for the GPU per step"
        yield from waits_of_a_step(recipe, n)
        return
    looks, traffic = looks_of_a_step(recipe, n)
    yield f"\nLooks at the device per step, of {traffic.calls / n:.0f} operators"
    yield from looks
    yield "\nMilliseconds of operators per step, by their own time"
    yield from operators(recipe, n)


def main() -> None:
    """Run, print, save."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--config", default="quickstart", help="recipe (quickstart)")
    options.add_argument("--set", nargs="*", default=[], help="overrides of the recipe")
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    shown = ["trainer.enable_progress_bar=false", "trainer.logger=false"]
    size = [f"trainer.max_steps={_SKIPPED + given.rounds}", "trainer.max_epochs=1000"]
    recipe = resolve(given.config, [*given.set, *shown, *size])
    lines = []
    for line in report(recipe, given):
        print(line, flush=True)
        lines.append(line)
    path = given.output or Path(__file__).parent / "results" / "profile_step.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"written: {path}")


if __name__ == "__main__":
    main()
