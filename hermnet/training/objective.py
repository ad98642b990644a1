"""Objectives: what training minimizes and validation counts, for energies or for properties."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Protocol, final

import torch
from torch import Tensor

from hermnet.data.least_squares import N_NUMBERS
from hermnet.graph import AtomicGraph
from hermnet.potential import Potential, Prediction
from hermnet.training.losses import LossTerm, loss_terms
from hermnet.training.metrics import ErrorSums

LossFunction = Callable[[Tensor, Tensor], Tensor]  # from `hermnet.training.losses.loss_function`
_MILLI = 1000.0  # eV to meV


class Errors(Protocol):
    """Running sums of errors, which add up over batches and processes."""

    def update(self, prediction: Any, graph: AtomicGraph, /) -> None:
        """Add a batch."""

    def reduce(self, over_processes: Callable[[Tensor], Tensor], /) -> dict[str, float]:
        """Mean errors by name; `over_processes` adds a tensor up over all processes."""


class Objective(ABC):
    """What differs between training energies and training properties."""

    @abstractmethod
    def predict(self, graph: AtomicGraph) -> Any:
        """The model's prediction, with everything that the loss wants."""

    @abstractmethod
    def output(self, prediction: Any) -> Tensor:
        """A tensor that depends on every parameter."""

    @abstractmethod
    def weights(self) -> dict[str, float]:
        """The weight of each term of the loss."""

    @abstractmethod
    def terms(self, prediction: Any, graph: AtomicGraph) -> dict[str, LossTerm]:
        """The terms of the loss."""

    @abstractmethod
    def errors(self) -> Errors:
        """Sums of errors that start at zero."""

    @abstractmethod
    def logged(self, errors: Mapping[str, float]) -> dict[str, float]:
        """Reduced errors as they are logged, in the units of tables."""

    @abstractmethod
    def monitor(self) -> str:
        """The logged error that decides what is best."""


@final
class EnergyObjective(Objective):
    """Energies, forces and stress.

    Args:
        potential: the potential.
        weights: of ``energy``, ``forces`` and ``stress``.
        function: the loss.
        element_weights: how much the forces on an element count, by atomic number; 1 for the rest.
    """

    def __init__(
        self,
        potential: Potential,
        weights: Mapping[str, float],
        function: LossFunction,
        element_weights: Mapping[int, float] | None = None,
    ) -> None:
        self.potential = potential
        self._element_weights = _table(element_weights) if element_weights else None
        self._weights = dict(weights)
        self._function = function

    def predict(self, graph: AtomicGraph) -> Prediction:
        """Energy and forces, and the stress where the loss wants it."""
        prediction: Prediction = self.potential(graph, stress=self._weights["stress"] > 0)
        return prediction

    def output(self, prediction: Prediction) -> Tensor:
        """See `Objective.output`."""
        return prediction.energy

    def weights(self) -> dict[str, float]:
        """See `Objective.weights`."""
        return self._weights

    def terms(self, prediction: Prediction, graph: AtomicGraph) -> dict[str, LossTerm]:
        """See `Objective.terms`."""
        return loss_terms(prediction, graph, self._function, self._element_weights)

    def errors(self) -> ErrorSums:
        """See `Objective.errors`."""
        return ErrorSums()

    def logged(self, errors: Mapping[str, float]) -> dict[str, float]:
        """In meV, meV/atom, meV/A and meV/A^3."""
        return {name: _MILLI * value for name, value in errors.items()}

    def monitor(self) -> str:
        """The error of the forces where they are trained."""
        if self._weights["forces"] > 0:
            return "forces_mae"
        return "energy_per_atom_mae" if self._weights["energy"] > 0 else "stress_mae"


def _table(weights: Mapping[int, float]) -> Tensor:
    table = torch.ones(N_NUMBERS, dtype=torch.float64)
    for atomic_number, weight in weights.items():
        table[atomic_number] = weight
    return table
