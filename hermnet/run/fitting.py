"""One process's part of a fit, from the recipe to the last checkpoint."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import pytorch_lightning as pl
from lightning_fabric.utilities.exceptions import MisconfigurationException

from hermnet.checkpoints.checkpoint import Checkpoint, model_of, read_checkpoint
from hermnet.checkpoints.provenance import check_position, record_start, this_command, training_data
from hermnet.datamodule import GraphDataModule
from hermnet.errors import InputError
from hermnet.host.atomic import is_of_the_disk, reason, write_atomically
from hermnet.host.lock import Lock
from hermnet.host.processes import from_first, n_processes, rank
from hermnet.model_options import ModelOptions
from hermnet.network import Network
from hermnet.recipes.config import Recipe
from hermnet.recipes.sections import check_model
from hermnet.run.compilation import decided
from hermnet.run.datasets import check_elements, load_data
from hermnet.run.folder import RunFolder
from hermnet.run.launch import Children, adopt
from hermnet.run.workflows import workflow_of
from hermnet.training.freezing import freeze
from hermnet.training.position import Position
from hermnet.training.precision import matrix_products
from hermnet.training.task import PotentialTask
from hermnet.training.trainer import cpu_threads, make_trainer, quiet

_RARE = 100  # training edges below which a relation is named in a warning


def trained_in(
    folder: RunFolder, recipe: Recipe, resume: str | None, children: Children, lock: Lock
) -> tuple[GraphDataModule, pl.Trainer]:
    """Train a recipe's model; checkpoints and logs are in the run's folder then.

    Args:
        folder: the run's, which this process holds the lock of.
        recipe: the resolved recipe.
        resume: ``last`` or the path of a checkpoint to continue from.
        children: the processes that this one has started.
        lock: of the folder.

    Returns:
        The data and the trainer.

    Raises:
        InputError: as `hermnet.run.commands.fit`.
    """
    checkpoint = None if resume is None else _resumed(recipe, folder, resume)
    data = load_data(recipe, None if resume is None else from_first(folder.read_splits))
    _check_enough(data)
    recipe = decided(recipe, data, None if checkpoint is None else checkpoint.recipe)
    workflow = workflow_of(recipe.model)
    workflow.check(recipe, data)
    model = workflow.new(recipe, data) if checkpoint is None else _again(recipe, checkpoint)
    check_elements(data, model, data.splits())
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


def _again(recipe: Recipe, checkpoint: Checkpoint) -> Network:
    """The model of a run that goes on; Lightning loads its weights once more, averaged or not."""
    pl.seed_everything(recipe.training.seed, verbose=False)
    return model_of(checkpoint, recipe.model)


def _known_elements(options: ModelOptions) -> tuple[int, ...] | None:
    return None if options.init_from is None else read_checkpoint(options.init_from).elements


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
    changed = [
        f"model.{key}={model.get(key)}"
        for key in ours["model"]
        if model.get(key) != ours["model"][key]
    ]
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
