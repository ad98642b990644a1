"""A model in which a relation is silent, or has the weights of another; for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

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
        ends, relations = given[1].expansion.receivers.segments
        counts = ends.diff(prepend=ends.new_zeros(1))
        every = torch.arange(len(ends), device=ends.device) if relations is None else relations
        heard = (every != relation.row).to(change.dtype)
        return change * heard.repeat_interleave(counts).view(-1, 1, 1)

    with _hooks([(module, silence) for module in interactions_of(model, relation)]):
        yield


@contextmanager
def exchanged(model: Network, relation: Relation, other: Relation) -> Iterator[None]:
    """Inside the `with` block the relation has the weights of another of the same sub-network."""
    hooks = []
    for _, _, layer in knowing_layers(model, relation.part):
        rows, others = relation.rows(layer), other.rows(layer)

        def exchange(
            stack: nn.Module,
            given: tuple[Tensor | None, ...],
            _: Tensor,
            rows: list[int] = rows,
            others: list[int] = others,
        ) -> Tensor:
            weights: Tensor = stack.forward()
            changed = weights.clone()
            changed[rows] = weights[others]
            wanted = given[0] if given else None
            return changed if wanted is None else changed.index_select(0, wanted)

        hooks.append((layer.stack, exchange))
    with _hooks(hooks):
        yield


@contextmanager
def _hooks(hooks: Sequence[tuple[nn.Module, Callable[..., Tensor]]]) -> Iterator[None]:
    with ExitStack() as stack:
        for module, hook in hooks:
            stack.callback(module.register_forward_hook(hook).remove)
        yield
