"""What a contender gives `serve.py`: a model that has its structure already."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import Tensor
from torch.nn import Parameter


class Model(ABC):
    """A model and its input; calling it evaluates energies and forces."""

    @abstractmethod
    def parameters(self) -> Iterable[Parameter]:
        """All weights."""

    @abstractmethod
    def __call__(self, training: bool) -> tuple[Tensor, Tensor]:
        """Energies (n_systems,) in eV and forces (n_atoms, 3) in eV/A.

        Args:
            training: whether the results will be differentiated.
        """

    def eagerly(self) -> AbstractContextManager[None]:
        """Evaluate operator by operator in the ``with`` block, so that they can be counted."""
        return nullcontext()

    def formulas(self) -> dict[Any, Any]:
        """Operations of operators that torch's own counter does not know."""
        return {}
