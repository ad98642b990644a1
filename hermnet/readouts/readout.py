"""Readouts: from features to what is learned; energies of atoms, or properties of structures."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, final

import torch.nn.functional as F
from torch import Tensor, nn

from hermnet.errors import InputError
from hermnet.graph import AtomicGraph


@final
class EnergyReadout(nn.Module):
    """An energy for each atom from its features of degree 0: a two-layer perceptron.

    Args:
        n_channels: channels of the features; the hidden layer has half as many.
    """

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(n_channels, max(n_channels // 2, 1))
        self.out = nn.Linear(max(n_channels // 2, 1), 1)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(n_atoms, (lmax+1)^2, n_channels) -> (n_atoms,), in units of the scale."""
        energies: Tensor = self.out(F.silu(self.hidden(x[:, 0]))).squeeze(1)
        return energies


@dataclass(frozen=True)
class Target:
    """Something that a model learns about a structure.

    Attributes:
        name: its name in tables and files; in lower case by convention.
        quantity: what `hermnet.units.to_internal` calls it; None where the unit is the data's own.
        n_columns: 1 for a scalar, 3 for a vector.
        from_dipole: whether its label is the graph's dipole vector, not one of its scalars.
    """

    name: str
    quantity: str | None = None
    n_columns: int = 1
    from_dipole: bool = False

    def __post_init__(self) -> None:
        if re.fullmatch(r"[A-Za-z]\w*", self.name) is None:
            raise InputError(
                f"model.readout: the target '{self.name}' is no name: a letter, then letters, "
                "digits and underscores"
            )


@dataclass(frozen=True)
class ReadoutShape:
    """What a readout has to fit.

    Attributes:
        n_channels: channels of the features.
        lmax: highest degree of the features.
        elements: the model's atomic numbers.
    """

    n_channels: int
    lmax: int
    elements: tuple[int, ...]


@dataclass(frozen=True)
class Calibration:
    """What a readout took from the training set.

    Attributes:
        scales: for each target, the size of what the network has to explain.
        notes: what a user should know about it, one sentence each.
    """

    scales: list[float]
    notes: list[str] = field(default_factory=list)


class PropertyReadout(nn.Module, ABC):
    """Properties of a structure from the features of its atoms.

    A readout's options are keyword arguments of its ``__init__`` after `shape`; a recipe sets them
    beside the name. It works in e, A, e A, A^2 and A^3.

    Attributes:
        targets: what it predicts, in the order of the columns.
        needs_molecules: whether it has no meaning where a structure is periodic.
    """

    targets: tuple[Target, ...]
    needs_molecules: ClassVar[bool]

    @abstractmethod
    def __init__(self, shape: ReadoutShape) -> None:
        super().__init__()

    @abstractmethod
    def calibrate(self, graph: AtomicGraph, types: Tensor, labels: Tensor) -> Calibration:
        """Take shift and scale from the training set.

        Args:
            graph: all training frames; edges are not looked at.
            types: (n_atoms,) int64, index into the elements.
            labels: (n_systems, n_columns) float64, NaN where a frame has no label.

        Raises:
            InputError: for a target without any label.
        """

    @abstractmethod
    def forward(self, x: Tensor, types: Tensor, graph: AtomicGraph) -> Tensor:
        """The values of the targets.

        Args:
            x: (n_atoms, (lmax+1)^2, n_channels).
            types: (n_atoms,) int64, index into the elements.
            graph: the structures.

        Returns:
            (n_systems, n_columns) float64.
        """
