"""What the commands do: fit a recipe, evaluate a checkpoint, predict with it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException

from hermnet.checkpoints.checkpoint import Checkpoint, load_model, model_of, read_checkpoint
from hermnet.checkpoints.provenance import check_position, record_start, this_command, training_data
from hermnet.datamodule import GraphDataModule
from hermnet.elements import symbol
from hermnet.errors import InputError
from hermnet.host.atomic import is_of_the_disk, reason, write_atomically
from hermnet.host.lock import Lock
from hermnet.host.processes import from_first, n_processes, rank
from hermnet.model_options import ModelOptions
from hermnet.network import Network
from hermnet.recipes.config import Recipe
from hermnet.recipes.sections import check_model
from hermnet.run.compilation import decided
from hermnet.run.datasets import load_data
from hermnet.run.evaluation import SplitResult, error_table
from hermnet.run.folder import RunFolder
from hermnet.run.launch import Children, adopt, launched
from hermnet.run.pictures import drawn, evaluated, leave_results
from hermnet.run.prediction import write_extxyz
from hermnet.run.workflows import workflow_of
from hermnet.training.freezing import freeze
from hermnet.training.loggers import check_installed
from hermnet.training.position import Position
from hermnet.training.precision import matrix_products
from hermnet.training.task import PotentialTask
from hermnet.training.trainer import cpu_threads, make_trainer, quiet

_RARE = 100  # training edges below which a relation is named in a warning


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
            data, trainer = _fit(recipe, folder, resume, children, lock)
        if not is_first or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return Run(folder, {})
        return Run(folder, _report(folder, data, trainer.strategy.root_device))
    finally:
        lock.release()


def _fit(
    recipe: Recipe, folder: RunFolder, resume: str | None, children: Children, lock: Lock
) -> tuple[GraphDataModule, pl.Trainer]:
    checkpoint = None if resume is None else _resumed(recipe, folder, resume)
    data = load_data(recipe, None if resume is None else from_first(folder.read_splits))
    _check_enough(data)
    recipe = decided(recipe, data, None if checkpoint is None else checkpoint.recipe)
    workflow = workflow_of(recipe.model)
    workflow.check(recipe, data)
    model = workflow.new(recipe, data) if checkpoint is None else _again(recipe, checkpoint)
    _check_elements(data, model, data.splits())
    known = training_data(model, data)
    _warn_of_rare_relations(known["relations"])
    if checkpoint is not None:
        position = check_position(checkpoint, data, recipe.data)
        data.start_at(position.epoch, position.batch)
    objective = workflow.objective(model, recipe.training, data)
    frozen = freeze(model, recipe.training.freeze, _known_elements(recipe.model))
    task = PotentialTask(model, recipe.training, recipe.to_dict(), objective, frozen, known)
    products = matrix_products(recipe.training.matmul_precision)
    with quiet(), cpu_threads(recipe.training.threads), products:
        trainer = make_trainer(recipe, data, task, folder, resume is not None)
        adopt(trainer, children)
        from_first(lambda: _begin(recipe, data, folder, checkpoint, lock))
        _train(trainer, task, data, folder, checkpoint)
    return data, trainer


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
    _check_elements(data, model, [split])
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
    _check_elements(data, model, data.splits())
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
    _check_elements(data, model, splits)
    workflow = workflow_of(model.options)
    results = {split: workflow.evaluate(model, data, split) for split in splits}
    Console().print(error_table(results))
    return results


def _trained(recipe: Recipe, checkpoint: str | None) -> tuple[Network, GraphDataModule, RunFolder]:
    folder = RunFolder.of(recipe.name, recipe.trainer)
    wants_gpu = recipe.trainer.get("accelerator", "auto") in ("auto", "gpu", "cuda")
    device = "cuda" if wants_gpu and torch.cuda.is_available() else "cpu"
    model = load_model(checkpoint or folder.usable_checkpoint(), device)
    data = load_data(replace(recipe, model=model.options), folder.read_splits())
    return model, data, folder


def _again(recipe: Recipe, checkpoint: Checkpoint) -> Network:
    """The model of a run that goes on; Lightning loads its weights once more, averaged or not."""
    pl.seed_everything(recipe.training.seed, verbose=False)
    return model_of(checkpoint, recipe.model)


def _known_elements(options: ModelOptions) -> tuple[int, ...] | None:
    return None if options.init_from is None else read_checkpoint(options.init_from).elements


def _check_elements(data: GraphDataModule, model: Network, splits: Iterable[str]) -> None:
    for split in splits:
        strangers = sorted(set(data.facts(split).elements) - set(model.elements))
        if strangers:
            raise InputError(
                f"the {split} frames have {', '.join(map(symbol, strangers))}, which no training "
                f"frame has (elements there: {', '.join(map(symbol, model.elements))})"
            )


def _check_enough(data: GraphDataModule) -> None:
    n_frames = len(data.graphs("train"))
    if n_frames < n_processes():
        raise InputError(
            f"trainer: {n_processes()} processes are more than the {n_frames} training frames; "
            "take fewer devices or nodes"
        )


def _warn_of_rare_relations(counts: Mapping[str, int]) -> None:
    rare = {label: n for label, n in counts.items() if 0 < n < _RARE}
    if rare:
        listed = ", ".join(f"{label} ({n})" for label, n in rare.items())
        warnings.warn(f"relations with few training edges: {listed}", stacklevel=2)


def _resumed(recipe: Recipe, folder: RunFolder, resume: str) -> Checkpoint:
    if resume == "last" and folder.best.is_file() and not folder.last.is_file():
        raise InputError(f"there is no checkpoint {folder.last}; give --resume {folder.best}")
    checkpoint = read_checkpoint(folder.last if resume == "last" else Path(resume))
    ours, theirs = recipe.to_dict(), checkpoint.recipe
    # an option that is younger than the checkpoint had its default
    before = check_model(theirs.get("model", {}), [])
    model = asdict(before) if before else {}
    changed = [f"model.{key}" for key in ours["model"] if model.get(key) != ours["model"][key]]
    optimizer = theirs.get("training", {}).get("optimizer", {}).get("class_path")
    if optimizer != ours["training"]["optimizer"]["class_path"]:  # its state would mean nothing
        changed.append("training.optimizer.class_path")
    if changed:
        raise InputError(
            f"{checkpoint.path} was trained with other options: {', '.join(changed)}; "
            "resume with the recipe of that run"
        )
    n_epochs = recipe.trainer.get("max_epochs")
    if n_epochs is not None and 0 <= n_epochs <= checkpoint.epoch:
        raise InputError(
            f"{checkpoint.path} has {checkpoint.epoch + 1} epochs already, more than "
            f"trainer.max_epochs={n_epochs}"
        )
    return checkpoint


def _begin(
    recipe: Recipe,
    data: GraphDataModule,
    folder: RunFolder,
    checkpoint: Checkpoint | None,
    lock: Lock,
) -> None:
    """Take the folder, write and say what is about to run."""
    folder.prepare(checkpoint is not None, lock)
    text = recipe.to_yaml()
    write_atomically(folder.recipe, text)
    folder.write_splits(data.split_indices())
    record_start(folder.starts, data, this_command(), checkpoint)
    print(text, flush=True)
    if checkpoint is not None:
        print(f"note: going on after {Position.of(checkpoint.position)}", flush=True)
    if recipe.training.compile is True:
        print("note: the first steps wait for the compiler, a minute or so", flush=True)


def _train(
    trainer: pl.Trainer,
    task: PotentialTask,
    data: GraphDataModule,
    folder: RunFolder,
    checkpoint: Checkpoint | None,
) -> None:
    path = None if checkpoint is None else checkpoint.path
    try:
        trainer.fit(task, data, ckpt_path=path, weights_only=True)
    except (InputError, MisconfigurationException) as error:
        if rank() == 0 and checkpoint is None and folder.is_empty():
            folder.discard()
        raise InputError(" ".join(str(error).split())) from error
    except OSError as error:
        if not is_of_the_disk(error):
            raise
        raise InputError(f"cannot write to {folder.path}: {reason(error)}") from error


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
