"""Weights that training leaves as they are: parts, relations, or all that was known before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from hermnet.errors import InputError, nearest
from hermnet.network import Network
from hermnet.training.inheritance import relational_layers, sided

_PARTS = ("embedding", "interactions", "readout")
KNOWN = "known"  # the word for all that a checkpoint knew


class Frozen:
    """Rows of parameters that no optimizer changes.

    Where all rows of a parameter are frozen it needs no gradient. The others have no gradient in
    these rows, and get them back after each step: an optimizer's weight decay moves weights without
    a gradient too.
    """

    def __init__(self) -> None:
        self._masks: dict[nn.Parameter, Tensor] = {}  # (n_rows,) bool, True where frozen

    def add(self, parameter: nn.Parameter, rows: Sequence[int] | None = None) -> None:
        """Freeze some rows, or all."""
        mask = self._masks.setdefault(
            parameter, torch.zeros(parameter.shape[0] if parameter.dim() else 1, dtype=torch.bool)
        )
        mask[slice(None) if rows is None else list(rows)] = True

    def add_all(self, parameters: Iterable[nn.Parameter]) -> None:
        """Freeze several parameters whole."""
        for parameter in parameters:
            self.add(parameter)

    def switch_off(self) -> None:
        """Let parameters that are frozen whole need no gradient."""
        for parameter, mask in self._masks.items():
            parameter.requires_grad_(not bool(mask.all()))

    def guard(self, optimizer: Optimizer) -> None:
        """Keep the rows through every step of an optimizer; parameters are where they will be."""
        partly = {
            parameter: torch.nonzero(mask).squeeze(1).to(parameter.device)
            for parameter, mask in self._masks.items()
            if not bool(mask.all())
        }
        if not partly:
            return
        for parameter, rows in partly.items():
            parameter.register_hook(lambda gradient, rows=rows: gradient.index_fill(0, rows, 0.0))
        kept: list[Tensor] = []

        def keep(*_: Any) -> None:
            kept[:] = [parameter.detach()[rows] for parameter, rows in partly.items()]

        def restore(*_: Any) -> None:
            with torch.no_grad():
                for (parameter, rows), values in zip(partly.items(), kept, strict=True):
                    parameter[rows] = values

        optimizer.register_step_pre_hook(keep)
        optimizer.register_step_post_hook(restore)


def freeze(model: Network, words: Sequence[str], known: tuple[int, ...] | None) -> Frozen:
    """Freeze parts of a model.

    Args:
        model: the model; what is frozen whole needs no gradient afterwards.
        words: ``embedding``, ``interactions``, ``readout``, names of relations, or ``known`` for
            all that a checkpoint knew.
        known: the elements of the checkpoint that the model started from, if there is one.

    Raises:
        InputError: for an unknown word, ``known`` without a checkpoint, or when nothing is left.
    """
    frozen = Frozen()
    labels = model.relation_labels
    for word in words:
        if word not in (*_PARTS, KNOWN, *labels):
            allowed = (*_PARTS, KNOWN, *labels)
            raise InputError(f"training.freeze: unknown '{word}'; {nearest(word, allowed)}")
        if word == KNOWN and known is None:
            raise InputError(
                "training.freeze: known: there is no model.init_from that knew anything"
            )
    chosen = {word for word in words if word in labels}
    if "interactions" in words:
        chosen.update(labels)
    if known is not None and (KNOWN in words or model.options.low_rank):
        chosen.update(model.labels_of(known))
    _freeze_relations(model, frozen, chosen)
    if "interactions" in words or KNOWN in words:
        _freeze_common(model, frozen)
    if "embedding" in words:
        frozen.add_all(model.embedding.parameters())
    elif known is not None and KNOWN in words:
        (embedding,) = model.embedding.parameters()
        frozen.add(embedding, [model.elements.index(z) for z in known])
    if "readout" in words or KNOWN in words:
        frozen.add_all(model.head.parameters())
    frozen.switch_off()
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise InputError(f"training.freeze: {', '.join(words)} leaves nothing to train")
    return frozen


def _freeze_relations(model: Network, frozen: Frozen, chosen: set[str]) -> None:
    for part, served in enumerate(model.router.served):
        rows = [k for k, r in enumerate(served) if model.relation_labels[r] in chosen]
        for interaction in model.router.parts(part) if rows else ():
            for layer in relational_layers(interaction).values():
                for parameter, own in layer.stack.frozen(
                    sided(rows, layer.n_relations // len(served))
                ):
                    frozen.add(parameter, own)


def _freeze_common(model: Network, frozen: Frozen) -> None:
    """What all relations have in common: the radial basis, and layers that know no relations."""
    frozen.add_all(model.router.geometry.parameters())
    for part in range(len(model.router.served)):
        for interaction in model.router.parts(part):
            layers = relational_layers(interaction).values()
            inside = {id(p) for layer in layers for p in layer.parameters()}
            frozen.add_all(p for p in interaction.parameters() if id(p) not in inside)
