"""Losses as sums and counts, so that any way of batching gives the same mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hermnet.errors import InputError, nearest
from hermnet.graph import AtomicGraph
from hermnet.potential import Prediction


@dataclass(frozen=True)
class LossTerm:
    """One target's summed loss and the number of values behind it."""

    total: Tensor  # scalar
    count: Tensor  # scalar


def loss_function(kind: str, huber_delta: float) -> Callable[[Tensor, Tensor], Tensor]:
    """A loss of each value: ``l1``, ``l2`` or ``huber``.

    Args:
        kind: ``l1`` is the absolute, ``l2`` the squared error; ``huber`` is half the square up to
            `huber_delta` and linear beyond.
        huber_delta: in the target's unit.

    Raises:
        InputError: for another kind, or a delta that is not positive.
    """
    functions: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "l1": lambda a, b: F.l1_loss(a, b, reduction="none"),
        "l2": lambda a, b: F.mse_loss(a, b, reduction="none"),
        "huber": lambda a, b: F.huber_loss(a, b, reduction="none", delta=huber_delta),
    }
    if kind not in functions:
        raise InputError(f"training.loss: unknown '{kind}'; {nearest(kind, functions)}")
    if not huber_delta > 0:
        raise InputError(f"training.huber_delta: {huber_delta} is not positive")
    return functions[kind]


def loss_terms(
    prediction: Prediction,
    graph: AtomicGraph,
    function: Callable[[Tensor, Tensor], Tensor],
    element_weights: Tensor | None = None,
) -> dict[str, LossTerm]:
    """The loss of every target that has both a label and a prediction.

    Energies are compared per atom (eV), forces and stress by component (eV/A, eV/A^3). Where a
    label is NaN, the frame lacks it, and it counts nowhere.

    Args:
        prediction: what the potential says of the graph.
        graph: the structures with their labels.
        function: from `loss_function`.
        element_weights: (119,) how much the forces on an atom count, by atomic number; by default
            all alike. The count is that of the weights then.
    """
    terms: dict[str, LossTerm] = {}
    if graph.energy is not None:
        n_atoms = graph.atoms_per_system()
        terms["energy"] = _term(prediction.energy / n_atoms, graph.energy / n_atoms, function)
    for name in ("forces", "stress"):
        predicted, label = getattr(prediction, name), getattr(graph, name)
        if predicted is not None and label is not None:
            weights = None
            if name == "forces" and element_weights is not None:
                table = element_weights.to(label.device)
                weights = table.index_select(0, graph.atomic_numbers).unsqueeze(1)
            terms[name] = _term(predicted, label, function, weights)
    return terms


def _term(
    predicted: Tensor,
    label: Tensor,
    function: Callable[[Tensor, Tensor], Tensor],
    weights: Tensor | None = None,
) -> LossTerm:
    there = ~label.isnan()
    # the inner `where` keeps the NaN of a stress without volume out of the gradient
    error = torch.where(there, predicted, 0.0) - torch.where(there, label, 0.0).to(predicted.dtype)
    values = function(error, torch.zeros_like(error))
    if weights is None:
        return LossTerm(values.sum(), there.sum())
    return LossTerm((weights.to(values.dtype) * values).sum(), (weights * there).sum())
