"""What the commands do: fit a recipe, evaluate a checkpoint, predict with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from hermnet.checkpoints.checkpoint import load_model
from hermnet.datamodule import GraphDataModule
from hermnet.host.lock import Lock
from hermnet.host.processes import from_first, rank
from hermnet.network import Network
from hermnet.recipes.config import Recipe
from hermnet.run.compilation import device_of
from hermnet.run.datasets import check_elements, load_data
from hermnet.run.evaluation import SplitResult, error_table
from hermnet.run.fitting import trained_in
from hermnet.run.folder import RunFolder
from hermnet.run.launch import launched
from hermnet.run.pictures import drawn, evaluated, leave_results
from hermnet.run.prediction import write_extxyz
from hermnet.run.workflows import workflow_of
from hermnet.training.loggers import check_installed


@dataclass(frozen=True)
class Run:
    """A finished fit: where it is and how well it does on each split."""

    folder: RunFolder
    results: dict[str, SplitResult]


def fit(recipe: Recipe, resume: str | None = None, overwrite: bool = False) -> Run:
    """Train a recipe's model and leave everything in the run's folder.

    Args:
        recipe: the resolved recipe.
        resume: ``last`` or the path of a checkpoint to continue from.
        overwrite: whether to replace a run in the same folder.

    Returns:
        The run; its results are empty on all processes but the first.

    Raises:
        InputError: when data, recipe or checkpoint cannot be used, and nothing is written then;
            when the disk is full, or the loss is no number.
        Interrupted: when SIGINT or SIGTERM has ended training and everything is saved.
        LostProcessError: when another process of the run is gone.
    """
    check_installed(recipe.trainer.get("logger"))
    folder = RunFolder.of(recipe.name, recipe.trainer)
    lock = Lock(folder.lock)
    try:
        with launched(recipe.trainer) as children:
            from_first(lambda: folder.check(overwrite, resume is not None))
            is_first = rank() == 0
            data, trainer = trained_in(folder, recipe, resume, children, lock)
        if not is_first or trainer.fast_dev_run:  # type: ignore[attr-defined]  # set late
            return Run(folder, {})
        return Run(folder, _report(folder, data, trainer.strategy.root_device))
    finally:
        lock.release()


def validate(recipe: Recipe, checkpoint: str | None = None) -> dict[str, SplitResult]:
    """Print and return the errors on the validation frames, best checkpoint by default."""
    return _errors(recipe, checkpoint, lambda data: ("val",))


def test(recipe: Recipe, checkpoint: str | None = None) -> dict[str, SplitResult]:  # noqa: PT028
    """Print and return the errors on each test set, best checkpoint by default."""
    return _errors(recipe, checkpoint, lambda data: data.test_splits())


def predict(recipe: Recipe, checkpoint: str | None = None, output: str | None = None) -> Path:
    """Write energies, forces and stress, or properties, of the frames to predict as extended xyz.

    Args:
        recipe: the recipe, whose ``data`` section says which frames: those of the split
            ``predict`` where there is one, else those of ``test``.
        checkpoint: by default the best of the recipe's run.
        output: by default ``predictions.xyz`` in the run's folder.

    Returns:
        The file written.
    """
    model, data, folder = _trained(recipe, checkpoint)
    path = Path(output) if output else folder.predictions
    split = data.predict_split()
    check_elements(data, model, [split])
    workflow = workflow_of(model.options)
    n_frames = write_extxyz(path, workflow.predict(model, data.eval_dataloader(split)))
    print(f"{n_frames} frames with {workflow.predicted(model)} in {path}")
    return path


def plot(recipe: Recipe) -> list[Path]:
    """Evaluate the recipe's run and draw its pictures again, from its logs and best checkpoint.

    Returns:
        The files written.

    Raises:
        InputError: there is no such run, or its data cannot be used.
    """
    model, data, folder = _trained(recipe, None)
    check_elements(data, model, data.splits())
    leave_results(folder, model, evaluated(model, data))
    paths = drawn(folder)
    print(f"plots: {' '.join(map(str, paths)) or 'none'}")
    return paths


def _errors(
    recipe: Recipe, checkpoint: str | None, choose: Callable[[GraphDataModule], tuple[str, ...]]
) -> dict[str, SplitResult]:
    from rich.console import Console

    model, data, _ = _trained(recipe, checkpoint)
    splits = choose(data)
    check_elements(data, model, splits)
    workflow = workflow_of(model.options)
    results = {split: workflow.evaluate(model, data, split) for split in splits}
    Console().print(error_table(results))
    return results


def _trained(recipe: Recipe, checkpoint: str | None) -> tuple[Network, GraphDataModule, RunFolder]:
    folder = RunFolder.of(recipe.name, recipe.trainer)
    model = load_model(checkpoint or folder.usable_checkpoint(), device_of(recipe))
    data = load_data(replace(recipe, model=model.options), folder.read_splits())
    return model, data, folder


def _report(
    folder: RunFolder, data: GraphDataModule, device: torch.device
) -> dict[str, SplitResult]:
    """Evaluate every split, print the table, write results and pictures."""
    from rich.console import Console

    checkpoint = folder.usable_checkpoint()
    model = load_model(checkpoint, device)
    results = evaluated(model, data)
    leave_results(folder, model, results)
    console = Console()
    console.print(error_table(results))
    console.print(f"plots: {' '.join(map(str, drawn(folder))) or 'none'}", soft_wrap=True)
    console.print(f"model: {checkpoint}", soft_wrap=True)
    return results
