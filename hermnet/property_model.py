"""`PropertyModel`: properties of structures, other than energies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor, nn

from hermnet.derivatives import edge_vectors
from hermnet.errors import InputError
from hermnet.graph import AtomicGraph, collate
from hermnet.model_options import ModelOptions
from hermnet.network import Network, default_dtype
from hermnet.readouts.names import make_property_readout
from hermnet.readouts.readout import ReadoutShape, Target
from hermnet.units import to_internal


@dataclass(frozen=True)
class PropertyPrediction:
    """What a property model says of a graph, in the graph's order and the model's units."""

    values: Tensor  # (n_systems, n_columns) float64; a vector has three columns


@final
class PropertyModel(Network):
    """A learned function from structures to one or several properties.

    Args:
        options: the recipe's ``model`` section, with a readout other than ``energy``.
        elements: the atomic numbers it knows; their order is that of the weights.
        mean_neighbors: average number of neighbors of an atom in the training set.
        units: the unit of each target, as the data declare it.

    Raises:
        InputError: for options that do not fit together or name something unknown, and for a unit
            that the readout cannot convert.
    """

    def __init__(
        self,
        options: ModelOptions,
        elements: tuple[int, ...],
        mean_neighbors: float,
        units: Mapping[str, str],
    ) -> None:
        super().__init__(options, elements, mean_neighbors)
        shape = ReadoutShape(options.n_channels, self.router.lmax, self.elements)
        with default_dtype(self.dtype):
            self.readout = make_property_readout(
                options.readout_name, options.readout_options, shape
            )
        self._units = {target.name: units.get(target.name, "") for target in self.targets}
        factors = [
            _internal(target, self._units[target.name])
            for target in self.targets
            for _ in range(target.n_columns)
        ]
        # what turns the data's units into those of the readout, for each column
        internal = torch.tensor(factors, dtype=torch.float64)
        self.register_buffer("internal", internal, persistent=False)
        self.internal: Tensor
        scales = torch.ones(len(self.targets), dtype=torch.float64)
        self.register_buffer("target_scales", scales)
        self.target_scales: Tensor  # (n_targets,), in the targets' units

    @property
    def targets(self) -> tuple[Target, ...]:
        """What it predicts; the columns of a prediction are in this order."""
        return self.readout.targets

    @property
    def head(self) -> nn.Module:
        """See `Network.head`."""
        return self.readout

    @property
    def units(self) -> dict[str, str]:
        """The unit of each target."""
        return dict(self._units)

    def columns(self, values: Tensor) -> dict[str, Tensor]:
        """Values (n_systems, n_columns) by target; a scalar has one column, a vector three."""
        sizes = [target.n_columns for target in self.targets]
        names = [target.name for target in self.targets]
        return dict(zip(names, values.split(sizes, dim=1), strict=True))

    def calibrate(self, graphs: Sequence[AtomicGraph], labels: Tensor) -> list[str]:
        """Take shift and scale from the training set.

        Args:
            graphs: the training frames, each one structure.
            labels: (n_frames, n_columns) float64 in the targets' units, NaN where there is none.

        Returns:
            What a user should know, one sentence each.

        Raises:
            InputError: for a target without any label.
        """
        joined = collate([_without_edges(graph) for graph in graphs])
        types = self.types(joined.atomic_numbers)
        found = self.readout.calibrate(joined, types, labels * self.internal)
        per_target = torch.stack(
            [v[0, 0] for v in self.columns(self.internal.unsqueeze(0)).values()]
        )
        self.target_scales.copy_(torch.tensor(found.scales, dtype=torch.float64) / per_target)
        return found.notes

    def forward(self, graph: AtomicGraph) -> PropertyPrediction:
        """Predict; see `Network.forward`."""
        indices = self.lean_indices(graph)
        x = self.features(edge_vectors(graph).to(self.dtype), indices)
        return PropertyPrediction(self.readout(x, indices.types, graph) / self.internal)


def _internal(target: Target, unit: str) -> float:
    if target.quantity is None:
        return 1.0
    try:
        return to_internal(target.quantity, unit)
    except InputError as error:
        raise InputError(f"model.readout: the target '{target.name}': {error}") from error


def _without_edges(graph: AtomicGraph) -> AtomicGraph:
    return replace(
        graph,
        centers=graph.centers[:0],
        neighbors=graph.neighbors[:0],
        shifts=graph.shifts[:0],
    )
