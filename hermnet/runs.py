"""What the commands do: fit a recipe, evaluate a checkpoint, predict with it."""

from __future__ import annotations

import json
import os
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from hermnet.checkpoint import load_potential, read_checkpoint, stored_recipe
from hermnet.class_path import build
from hermnet.config import Recipe
from hermnet.datamodule import DATAMODULES, GraphDataModule
from hermnet.elements import symbol
from hermnet.errors import InputError
from hermnet.evaluation import SplitResult, draw_parity, error_table, evaluate_split
from hermnet.folder import RunFolder
from hermnet.plots import learning_curve
from hermnet.potential import Potential
from hermnet.prediction import predict_batches, to_atoms, write_extxyz
from hermnet.statistics import Statistics
from hermnet.task import PotentialTask

_RARE = 100  # training edges below which a relation is named in a warning

# Lightning's own defaults do not suit forces (inference mode forbids them) or our samplers.
_TRAINER_DEFAULTS: dict[str, Any] = {
    "inference_mode": False,
    "use_distributed_sampler": False,
    "gradient_clip_val": 10.0,
    "enable_model_summary": False,
}


@dataclass(frozen=True)
class Run:
    """A finished fit: where it is and how well it does on each split."""

    folder: RunFolder
    results: dict[str, SplitResult]


def fit(recipe: Recipe, resume: str | None = None, overwrite: bool = False) -> Run:
    """Train a recipe's potential and leave everything in the run's folder.

    Args:
        recipe: the resolved recipe.
        resume: ``last`` or the path of a checkpoint to continue from.
        overwrite: whether to replace a run in the same folder.

    Raises:
        InputError: when data, recipe or checkpoint cannot be used; nothing is written then.
    """
    folder = RunFolder.of(recipe.name, recipe.trainer)
    checkpoint = _resume_from(recipe, folder, resume)
    data = _data(recipe)
    task = _task(recipe, data)
    trainer_options = _trainer_options(recipe, data, task, folder)
    folder.prepare(overwrite, resume is not None)
    text = recipe.to_yaml()
    folder.recipe.write_text(text, encoding="utf-8")
    print(text, flush=True)
    with warnings.catch_warnings():
        _silence()
        trainer = pl.Trainer(**_TRAINER_DEFAULTS | trainer_options)
        trainer.fit(task, data, ckpt_path=checkpoint, weights_only=True)
    if not trainer.is_global_zero:
        return Run(folder, {})
    return Run(folder, _report(folder, data))


def validate(recipe: Recipe, checkpoint: str | None = None) -> dict[str, SplitResult]:
    """Print and return the errors on the validation frames, best checkpoint by default."""
    return _errors(recipe, checkpoint, "val")


def test(recipe: Recipe, checkpoint: str | None = None) -> dict[str, SplitResult]:
    """Print and return the errors on the test frames, best checkpoint by default."""
    return _errors(recipe, checkpoint, "test")


def predict(recipe: Recipe, checkpoint: str | None = None, output: str | None = None) -> Path:
    """Write energies, forces and stress of the frames to predict as extended xyz.

    Args:
        recipe: the recipe, whose ``data`` section says which frames: those of the split
            ``predict`` where there is one, else those of ``test``.
        checkpoint: by default the best of the recipe's run.
        output: by default ``predictions.xyz`` in the run's folder.

    Returns:
        The file written.
    """
    folder = RunFolder.of(recipe.name, recipe.trainer)
    potential = load_potential(checkpoint or folder.usable_checkpoint())
    data = _data(replace(recipe, model=potential.options))
    path = Path(output) if output else folder.predictions
    loader = data.predict_dataloader()
    batches = predict_batches(potential, loader, stress=True)
    n_frames = write_extxyz(
        path, (atoms for graph, prediction in batches for atoms in to_atoms(graph, prediction))
    )
    print(f"{n_frames} frames with energies and forces (eV, eV/A) in {path}")
    return path


def _errors(recipe: Recipe, checkpoint: str | None, split: str) -> dict[str, SplitResult]:
    from rich.console import Console

    folder = RunFolder.of(recipe.name, recipe.trainer)
    potential = load_potential(checkpoint or folder.usable_checkpoint())
    data = _data(replace(recipe, model=potential.options))
    results = {split: evaluate_split(potential, data.eval_dataloader(split))}
    Console().print(error_table(results))
    return results


def _data(recipe: Recipe) -> GraphDataModule:
    options = {key: value for key, value in recipe.data.items() if key != "name"}
    data = DATAMODULES.get(recipe.data["name"])(**options)
    data.set_cutoff(recipe.model.cutoff)
    data.setup()
    return data


def _task(recipe: Recipe, data: GraphDataModule) -> PotentialTask:
    """The task of a new run, its statistics taken from the training frames."""
    _check_labels(recipe, data)
    graphs = data.graphs("train")
    reference = recipe.model.reference
    facts = Statistics.from_graphs(graphs, reference)
    _check_elements(data, facts.elements)
    for note in facts.notes:
        print(f"note: {note}")
    pl.seed_everything(recipe.training.seed, verbose=False)
    potential = Potential(recipe.model, facts.elements, facts.mean_neighbors)
    potential.set_reference(facts.reference, facts.scale)
    _warn_of_rare_relations(potential, data)
    return PotentialTask(potential, recipe.training, recipe.to_dict())


def _check_labels(recipe: Recipe, data: GraphDataModule) -> None:
    wanted = [name for name, weight in recipe.training.weights().items() if weight > 0]
    for split in [name for name in ("train", "val") if name in data.splits()]:
        there = data.label_names(split)
        for name in wanted:
            if name not in there:
                raise InputError(
                    f"training.{name}_weight is positive, but not every {split} frame has {name} "
                    f"(labels there: {', '.join(sorted(there)) or 'none'}); set it to 0 or add them"
                )


def _check_elements(data: GraphDataModule, elements: tuple[int, ...]) -> None:
    for split in data.splits():
        found = {int(z) for graph in data.graphs(split) for z in graph.atomic_numbers.unique()}
        strangers = sorted(found - set(elements))
        if strangers:
            raise InputError(
                f"the {split} frames have {', '.join(map(symbol, strangers))}, which no training "
                f"frame has (elements there: {', '.join(map(symbol, elements))})"
            )


def _warn_of_rare_relations(potential: Potential, data: GraphDataModule) -> None:
    counts = potential.count_edges(data.graphs("train"))
    rare = {label: n for label, n in counts.items() if 0 < n < _RARE}
    if rare:
        listed = ", ".join(f"{label} ({n})" for label, n in rare.items())
        warnings.warn(f"relations with few training edges: {listed}", stacklevel=2)


def _resume_from(recipe: Recipe, folder: RunFolder, resume: str | None) -> str | None:
    if resume is None:
        return None
    path = folder.last if resume == "last" else Path(resume)
    stored = stored_recipe(read_checkpoint(path)).get("model", {})
    ours = recipe.to_dict()["model"]
    changed = [f"model.{key}" for key in ours if stored.get(key) != ours[key]]
    if changed:
        raise InputError(
            f"{path} was trained with other options: {', '.join(changed)}; "
            "resume with the recipe of that run"
        )
    return str(path)


def _trainer_options(
    recipe: Recipe, data: GraphDataModule, task: PotentialTask, folder: RunFolder
) -> dict[str, Any]:
    from pytorch_lightning import Callback
    from pytorch_lightning.callbacks import EMAWeightAveraging, ModelCheckpoint
    from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger

    options = dict(recipe.trainer)
    has_val = "val" in data.splits()
    callbacks: list[Callback] = [
        ModelCheckpoint(
            dirpath=folder.checkpoints,
            filename="best",
            monitor=task.monitor() if has_val else None,
            save_last=True,
            save_top_k=1 if has_val else 0,
            enable_version_counter=False,
        )
    ]
    if recipe.training.ema_decay is not None:
        callbacks.append(
            EMAWeightAveraging(decay=recipe.training.ema_decay, use_buffers=False)
        )
    callbacks += [build(spec, Callback) for spec in options.pop("callbacks", None) or []]
    start = len(folder.metrics())
    loggers = options.pop("logger", None)
    if loggers in (None, True):
        loggers = [
            CSVLogger(folder.path, name="", version=f"csv_{start}"),
            TensorBoardLogger(folder.path, name="", version=f"tensorboard_{start}"),
        ]
    elif isinstance(loggers, list):
        loggers = [build(spec, Logger) for spec in loggers]  # type: ignore[type-abstract]
    if not has_val:
        options["limit_val_batches"] = 0
    options.setdefault("log_every_n_steps", min(50, len(data.train_dataloader())))
    return options | {"callbacks": callbacks, "logger": loggers, "default_root_dir": folder.path}


def _silence() -> None:
    """Leave out what Lightning says about choices that are ours."""
    for message in (
        ".*does not have many workers.*",  # the frames are in memory: workers would be slower
        ".*LeafSpec.*",  # Lightning's own use of a deprecated name of torch
        ".*Checkpoint directory .* exists and is not empty.*",  # prepared by RunFolder
        ".*Total length of `list`.*",  # no validation frames, which is allowed
    ):
        warnings.filterwarnings("ignore", message=message)


def _report(folder: RunFolder, data: GraphDataModule) -> dict[str, SplitResult]:
    """Evaluate every split, print the table, write results and pictures."""
    from rich.console import Console

    potential = load_potential(folder.usable_checkpoint())
    splits = [name for name in ("train", "val", "test") if name in data.splits()]
    results = {
        split: evaluate_split(potential, data.eval_dataloader(split)) for split in splits
    }
    errors = {split: result.errors for split, result in results.items()}
    part = folder.results.with_suffix(".part")
    part.write_text(json.dumps(errors, indent=2) + "\n", encoding="utf-8")
    os.replace(part, folder.results)
    draw_parity(results, folder.parity)
    if folder.metrics():
        learning_curve(folder.metrics(), folder.learning_curve)
    console = Console()
    console.print(error_table(results))
    console.print(f"plots: {folder.learning_curve} {folder.parity}", soft_wrap=True)
    console.print(f"potential: {folder.usable_checkpoint()}", soft_wrap=True)
    return results
