"""Which parameters belong to a relation, and how alike the weights of relations are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hermnet.analysis.served import Relation, interactions_of, knowing_layers
from hermnet.network import Network
from hermnet.relational import RelationalLinear
from hermnet.training.inheritance import relational_layers, sided

Array = NDArray[np.float64]


def own_parameters(model: Network, relation: Relation) -> int:
    """How many parameters belong to a relation and to no other."""
    interactions = interactions_of(model, relation)
    if relation.n_served == 1:
        return sum(p.numel() for interaction in interactions for p in interaction.parameters())
    layers = [layer for one in interactions for layer in relational_layers(one).values()]
    return sum(
        len(own) * parameter[0].numel()
        for layer in layers
        for parameter, own in layer.stack.frozen(
            sided([relation.row], layer.n_relations // relation.n_served)
        )
        if own is not None
    )


@dataclass(frozen=True)
class Likeness:
    """How alike the weights of relations are in one linear layer, or on the average of several.

    Attributes:
        cosine: (n, n) of the relations' weights, biases included; NaN where two relations have
            different sub-networks.
        distance: (n, n) length of the difference over the root mean square of both lengths: 0 for
            the same weights, sqrt(2) for unrelated ones.
    """

    cosine: Array
    distance: Array

    @classmethod
    def mean(cls, several: Sequence[Likeness]) -> Likeness:
        """The average, entry by entry."""
        return cls(
            np.mean([one.cosine for one in several], axis=0),
            np.mean([one.distance for one in several], axis=0),
        )


@torch.no_grad()
def likeness(model: Network, relations: Sequence[Relation]) -> dict[tuple[int, str], Likeness]:
    """How alike the weights of these relations are, by number of the interaction and layer.

    Layers that know no relations are left out. Where relations have several sub-networks, those of
    one come before those of the next, and a name may stand for layers of each.
    """
    found: dict[tuple[int, str], Likeness] = {}
    for part in range(len(model.router.served)):
        places = [k for k, relation in enumerate(relations) if relation.part == part]
        if len(places) < 2:
            continue
        for depth, name, layer in knowing_layers(model, part):
            one = _likeness(layer, [relations[k] for k in places])
            empty = np.full((len(relations), len(relations)), np.nan)
            whole = found.get((depth, name), Likeness(empty, empty.copy()))
            whole.cosine[np.ix_(places, places)] = one.cosine
            whole.distance[np.ix_(places, places)] = one.distance
            found[depth, name] = whole
    return dict(sorted(found.items(), key=lambda item: item[0][0]))


def by_interaction(found: dict[tuple[int, str], Likeness]) -> list[Likeness]:
    """The average over the linear layers of each interaction."""
    depths = sorted({depth for depth, _ in found})
    return [Likeness.mean([v for (d, _), v in found.items() if d == depth]) for depth in depths]


def _likeness(layer: RelationalLinear, relations: Sequence[Relation]) -> Likeness:
    stack: Tensor = layer.stack().to(torch.float64)
    rows = [relation.rows(layer) for relation in relations]
    weights = torch.stack([stack[r].flatten() for r in rows])
    products = (weights @ weights.T).cpu().numpy()
    squares = np.diag(products)
    lengths = np.sqrt(np.maximum(squares, np.finfo(np.float64).tiny))
    pairs = squares[:, None] + squares[None, :]
    apart = np.maximum(pairs - 2 * products, 0.0)
    scale = np.maximum(pairs / 2, np.finfo(np.float64).tiny)
    return Likeness(products / np.outer(lengths, lengths), np.sqrt(apart / scale))
