"""A model that starts from a checkpoint: its options, and its weights element by element."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import nn

from hermnet.checkpoints.checkpoint import read_checkpoint
from hermnet.errors import InputError
from hermnet.model_options import ModelOptions
from hermnet.network import Network
from hermnet.relational import RelationalLinear

# What a model does not take from the checkpoint that it starts from.
_ITS_OWN = ("init_from", "low_rank", "reference")


def inherited(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the checkpoint that a recipe's ``model`` section starts from; may be none.

    Args:
        given: the section as the recipe has it.

    Raises:
        InputError: for a file that is no checkpoint.
    """
    if given.get("init_from") is None:
        return {}
    stored = read_checkpoint(str(given["init_from"])).recipe.get("model", {})
    return {key: value for key, value in stored.items() if key not in _ITS_OWN}


def contradictions(options: ModelOptions, before: ModelOptions) -> list[str]:
    """Options that differ from those of the checkpoint that the model starts from, one line each.

    Args:
        options: the checked ``model`` section.
        before: that of the checkpoint.
    """
    changeable = (*_ITS_OWN, "readout", "dtype")
    found = []
    for name in [field.name for field in fields(options) if field.name not in changeable]:
        ours, theirs = getattr(options, name), getattr(before, name)
        if ours != theirs:
            found.append(
                f"model.{name}: {ours}, but {options.init_from} has {theirs}; leave it out or take "
                "that"
            )
    return found


def joined_elements(known: tuple[int, ...], others: tuple[int, ...]) -> tuple[int, ...]:
    """Known elements, then new ones: this order keeps the names and sides of known relations."""
    return known + tuple(z for z in others if z not in known)


@torch.no_grad()
def take_weights(model: Network, source: Network) -> None:
    """Copy all weights of what both models know; what is new keeps its initial values.

    The readout is taken where both have the same one.

    Args:
        model: a new model with the source's options, which knows all of its elements.
        source: the model to start from.

    Raises:
        InputError: when weights have no place, as those of new elements in a readout of properties.
    """
    rows = [model.elements.index(z) for z in source.elements]
    model.embedding.weight[rows] = source.embedding.weight.to(model.embedding.weight)
    parts = ["router.geometry."]
    if model.options.readout == source.options.readout:
        parts += ["readout.", "target_scales"]
    _take_state(model, source, tuple(parts))
    for shared in shared_relations(model, source):
        _take_interaction(shared)


@dataclass(frozen=True)
class SharedRelations:
    """An interaction of a model, and the one of another that served some of its relations.

    Attributes:
        interaction: of the model.
        other: of the other model, in the same layer.
        n_relations: how many relations `interaction` serves.
        rows: those that both serve, by their number among them.
        other_rows: the numbers of these among the relations of `other`.
    """

    interaction: nn.Module
    other: nn.Module
    n_relations: int
    rows: list[int]
    other_rows: list[int]


def shared_relations(model: Network, source: Network) -> Iterator[SharedRelations]:
    """Every pair of interactions of two models that serve relations of the same names."""
    names, other_names = model.relation_labels, source.relation_labels
    for part, served in enumerate(model.router.served):
        for other_part, other_served in enumerate(source.router.served):
            others = [other_names[relation] for relation in other_served]
            rows = [row for row, relation in enumerate(served) if names[relation] in others]
            if not rows:
                continue
            other_rows = [others.index(names[served[row]]) for row in rows]
            layers = zip(model.router.parts(part), source.router.parts(other_part), strict=True)
            for mine, theirs in layers:
                yield SharedRelations(mine, theirs, len(served), rows, other_rows)


def _take_interaction(shared: SharedRelations) -> None:
    layers, others = relational_layers(shared.interaction), relational_layers(shared.other)
    _take_state(shared.interaction, shared.other, ("",), without=tuple(layers))
    for name, layer in layers.items():
        n_sides = layer.n_relations // shared.n_relations
        rows, other_rows = (sided(r, n_sides) for r in (shared.rows, shared.other_rows))
        layer.stack.take(others[name].stack, rows, other_rows)


def _take_state(
    module: nn.Module, other: nn.Module, prefixes: tuple[str, ...], without: tuple[str, ...] = ()
) -> None:
    """Copy parameters and buffers by name."""
    left_out = tuple(f"{name}." for name in without)
    ours = module.state_dict()
    for name, value in other.state_dict().items():
        if not name.startswith(prefixes) or name.startswith(left_out):
            continue
        if name not in ours or ours[name].shape != value.shape:
            raise InputError(
                f"model.init_from: '{name}' is {tuple(value.shape)} there and "
                f"{tuple(ours[name].shape) if name in ours else 'nothing'} here; elements can only "
                "be added where relations alone have weights for them"
            )
        ours[name].copy_(value)


def relational_layers(module: nn.Module) -> dict[str, RelationalLinear]:
    """The layers of an interaction that know relations, by name."""
    return {n: layer for n, layer in module.named_modules() if isinstance(layer, RelationalLinear)}


def sided(rows: list[int], n_sides: int) -> list[int]:
    """Rows of matrices that stand for relations and sides: ``n_sides * relation + side``."""
    return [n_sides * row + side for row in rows for side in range(n_sides)]
