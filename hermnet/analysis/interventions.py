"""A model in which a relation is silent, or has the weights of another; for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from hermnet.analysis.served import Relation, interactions_of, knowing_layers
from hermnet.geometry import RelationalGraph
from hermnet.network import Network


@contextmanager
def switched_off(model: Network, relation: Relation) -> Iterator[None]:
    """Inside the `with` block the relation changes no atom, in no layer.

    Everything else stays: what other relations say, and what they count on an atom.
    """

    def silence(_: nn.Module, given: tuple[Tensor, RelationalGraph], change: Tensor) -> Tensor:
        ends = given[1].expansion.receivers.offsets.tolist()
        start = ends[relation.row - 1] if relation.row else 0
        mask = torch.ones(change.shape[0], 1, 1, dtype=change.dtype, device=change.device)
        mask[start : ends[relation.row]] = 0.0
        return change * mask

    with _hooks([(module, silence) for module in interactions_of(model, relation)]):
        yield


@contextmanager
def exchanged(model: Network, relation: Relation, other: Relation) -> Iterator[None]:
    """Inside the `with` block the relation has the weights of another of the same sub-network."""
    hooks = []
    for _, _, layer in knowing_layers(model, relation.part):
        rows, others = relation.rows(layer), other.rows(layer)

        def exchange(
            _: nn.Module,
            __: Any,
            weights: Tensor,
            rows: list[int] = rows,
            others: list[int] = others,
        ) -> Tensor:
            changed = weights.clone()
            changed[rows] = weights[others]
            return changed

        hooks.append((layer.stack, exchange))
    with _hooks(hooks):
        yield


@contextmanager
def _hooks(hooks: Sequence[tuple[nn.Module, Callable[..., Tensor]]]) -> Iterator[None]:
    with ExitStack() as stack:
        for module, hook in hooks:
            stack.callback(module.register_forward_hook(hook).remove)
        yield
