"""`analyze`: what each relation of a trained model costs and does."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path

import numpy as np
import torch

from hermnet.analysis.findings import Findings, RelationFacts
from hermnet.analysis.frames import Errors, Frames
from hermnet.analysis.interventions import exchanged, switched_off
from hermnet.analysis.report import Analysis
from hermnet.analysis.served import Relation, knowing_layers, relations_of
from hermnet.analysis.timing import time_shares
from hermnet.analysis.weights import Array, likeness, own_parameters
from hermnet.checkpoints.checkpoint import Checkpoint, load_model, read_checkpoint
from hermnet.data.progress import tracked
from hermnet.errors import InputErrors
from hermnet.network import Network
from hermnet.recipes.config import Recipe
from hermnet.run.datasets import load_data
from hermnet.run.folder import RunFolder


@dataclass(frozen=True)
class AnalysisSettings:
    """What an analysis looks at.

    Attributes:
        split: of the data; by default the first test set, else validation or training frames.
        frames: how many frames of it, evenly taken.
        relations: how many relations to switch off, those with the most edges.
        exchange: up to how many relations each gets the weights of each other.
    """

    split: str | None = None
    frames: int = 100
    relations: int = 60
    exchange: int = 12

    def __post_init__(self) -> None:
        least = {"frames": 1, "relations": 1, "exchange": 0}
        problems = [
            f"--{name} must be at least {bound}, not {getattr(self, name)}"
            for name, bound in least.items()
            if getattr(self, name) < bound
        ]
        if problems:
            raise InputErrors(problems)


def analyze(
    checkpoint: str | Path,
    recipe: Recipe | None = None,
    settings: AnalysisSettings | None = None,
    device: str = "cpu",
) -> Analysis:
    """Look at the relations of a trained model one by one.

    Args:
        checkpoint: of a potential or a model of properties.
        recipe: whose data to look at; by default those that the model was trained with.
        settings: how many frames and relations.
        device: to compute on.

    Returns:
        What was found; it can be printed and saved.

    Raises:
        InputError: for a checkpoint or data that cannot be used, or do not fit together.
    """
    settings = settings or AnalysisSettings()
    stored, model = read_checkpoint(checkpoint), load_model(checkpoint, device)
    splits = None
    if recipe is None:
        recipe = Recipe.from_dict(stored.recipe)
        splits = RunFolder(Path(checkpoint).parent.parent).read_splits()
    data = load_data(replace(recipe, model=model.options), splits)
    frames = Frames(data, model, settings.split, settings.frames)
    return Analysis(_look(stored, model, frames, settings))


def _look(
    stored: Checkpoint, model: Network, frames: Frames, settings: AnalysisSettings
) -> Findings:
    relations, edges = relations_of(model), frames.n_edges()
    there = sorted((k for k in range(len(relations)) if edges[k]), key=lambda k: -edges[k])
    examined = [relations[k] for k in sorted(there[: settings.relations])]
    notes = []
    if len(there) > len(examined):
        notes.append(f"Looked at {len(examined)} of {len(there)} relations, those with most edges.")
    if len(relations) > len(there):
        absent = len(relations) - len(there)
        notes.append(f"Relations that none of the frames has: {absent} of {len(relations)}.")
    exchange = _exchange(model, examined, frames, settings.exchange, notes)
    return Findings(
        checkpoint=str(stored.path),
        scheme=_scheme(model),
        classes=_classes(model),
        split=(frames.split, frames.n_frames, frames.n_all),
        units=frames.units,
        main=frames.main_target,
        errors=frames.errors,
        relations=_facts(stored, model, frames, relations, examined),
        examined=[relation.index for relation in examined],
        likeness=likeness(model, examined),
        exchange=exchange,
        notes=notes,
    )


def _facts(
    stored: Checkpoint,
    model: Network,
    frames: Frames,
    relations: Sequence[Relation],
    examined: Sequence[Relation],
) -> list[RelationFacts]:
    shares = dict(
        zip(
            (relation.index for relation in examined),
            time_shares(model, frames.typical, examined),
            strict=True,
        )
    )
    off = {}
    for relation in tracked(examined, len(examined), "switching relations off"):
        off[relation.index] = _under(switched_off(model, relation), frames)
    edges, total = frames.n_edges(), sum(p.numel() for p in model.parameters())
    return [
        RelationFacts(
            relation=relation,
            training_edges=stored.relations.get(relation.label),
            edges=edges[relation.index],
            parameters=(own := own_parameters(model, relation)),
            parameter_share=own / total,
            time_share=shares.get(relation.index),
            n_atoms=frames.errors.n_served.get(relation.label),
            served=frames.errors.served.get(relation.label),
            off=off.get(relation.index),
        )
        for relation in relations
    ]


def _under(change: AbstractContextManager[None], frames: Frames) -> Errors:
    with change, torch.no_grad():
        return frames.errors_now()


def _exchange(
    model: Network,
    relations: Sequence[Relation],
    frames: Frames,
    most: int,
    notes: list[str],
) -> Array | None:
    """See `Findings.exchange`; says in `notes` why there is none."""
    if len(relations) < 2:
        return None
    pairs = [
        (k, other)
        for k, other in permutations(range(len(relations)), 2)
        if relations[k].part == relations[other].part
    ]
    obstacle = _obstacle(model, len(relations), len(pairs), most)
    if obstacle:
        notes.append(f"Weights were not exchanged: {obstacle}.")
        return None
    result = np.full((len(relations), len(relations)), np.nan)
    np.fill_diagonal(result, 0.0)
    for k, other in tracked(pairs, len(pairs), "exchanging weights"):
        errors = _under(exchanged(model, relations[k], relations[other]), frames)
        before = _error(frames.errors, frames, relations[k])
        result[k, other] = _error(errors, frames, relations[k]) - before
    return result


def _obstacle(model: Network, n_relations: int, n_pairs: int, most: int) -> str:
    """Why relations cannot exchange weights; empty if they can."""
    if n_pairs == 0:
        return "every relation has a sub-network of its own"
    if not any(list(knowing_layers(model, part)) for part in range(len(model.router.served))):
        return "all relations have the same"
    if n_relations > most:
        return f"{n_relations} relations are more than --exchange {most}"
    return ""


def _error(errors: Errors, frames: Frames, relation: Relation) -> float:
    served = errors.served.get(relation.label)
    return errors.targets[frames.main_target] if served is None else served


def _scheme(model: Network) -> str:
    options = model.options
    return f"{options.relations}, sharing {options.sharing}, heterogeneity {options.heterogeneity}"


def _classes(model: Network) -> dict[str, list[int]]:
    names = model.router.scheme.names
    of_type = model.class_of_type.tolist()
    return {
        name: [z for z, k in zip(model.elements, of_type, strict=True) if k == index]
        for index, name in enumerate(names)
    }
