"""`Baseline`: what the elements alone say of a sum over atoms, and the size of the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from hermnet.errors import InputError
from hermnet.graph import AtomicGraph
from hermnet.readouts.readout import Target
from hermnet.segments import segment_sum

_NEGLIGIBLE = 1e-10  # of the labels' size: zero but for rounding


@final
class Baseline(nn.Module):
    """``c_i = per_element[element(i)] + scale * y_i`` in float64, one column for each target.

    Both are fitted on the training set and kept in the checkpoint, in float64 whatever the model's
    dtype, as `hermnet.reference.Reference`.

    Args:
        n_elements: number of elements.
        n_columns: number of targets.
    """

    def __init__(self, n_elements: int, n_columns: int) -> None:
        super().__init__()
        zeros = torch.zeros(n_elements, n_columns, dtype=torch.float64)
        self.register_buffer("per_element", zeros)
        self.register_buffer("scale", torch.ones(n_columns, dtype=torch.float64))
        self.per_element: Tensor
        self.scale: Tensor

    def set(self, column: int, fit: ColumnFit) -> None:
        """Store what was fitted for one target."""
        self.per_element[:, column] = fit.per_element
        self.scale[column] = fit.scale

    def forward(self, y: Tensor, types: Tensor) -> Tensor:
        """The network's output (n_atoms, n_columns) as contributions of atoms, of that shape."""
        return y.to(torch.float64) * self.scale + self.per_element.index_select(0, types)


@dataclass(frozen=True)
class ColumnFit:
    """A target as a sum over atoms with weights w: ``sum_i w_i (per_element[i] + scale y_i)``.

    Attributes:
        per_element: (n_elements,) what each element contributes.
        scale: standard deviation of the rest, divided by the sum of the weights.
        residual: standard deviation of the rest.
        notes: what a user should know.
    """

    per_element: Tensor
    scale: float
    residual: float
    notes: list[str]


@dataclass(frozen=True)
class WeightedSums:
    """Training frames as sums over atoms: for each frame and element the sum of the weights.

    Attributes:
        features: (n_systems, n_elements) float64.
    """

    features: Tensor

    @classmethod
    def of(
        cls, graph: AtomicGraph, types: Tensor, weights: Tensor, n_elements: int
    ) -> WeightedSums:
        """Sum the weights (n_atoms,) by frame and element."""
        index = graph.batch * n_elements + types
        sums = segment_sum(weights.to(torch.float64), index, graph.n_systems * n_elements)
        return cls(sums.view(graph.n_systems, n_elements))

    def least_squares(self, target: Target, labels: Tensor) -> ColumnFit:
        """Contributions of the elements that leave the smallest squares; of these, the smallest.

        Args:
            target: named in notes and errors.
            labels: (n_systems,) float64, NaN where a frame has no label.
        """
        known = _known(target, labels)
        features = self.features[known]
        size = features.abs().amax(dim=0).clamp(min=1e-12)
        solution = torch.linalg.pinv(features / size, rtol=1e-10) @ labels[known] / size
        rank = int(torch.linalg.matrix_rank(features / size, rtol=1e-10))
        notes = []
        if rank < features.shape[1]:
            notes.append(
                f"the compositions do not determine what each element contributes to {target.name} "
                f"(rank {rank} of {features.shape[1]}): the solution of the smallest norm is used"
            )
        return self.given(target, labels, solution, notes)

    def mean(self, target: Target, labels: Tensor) -> ColumnFit:
        """The labels' mean for every element, for weights that add up to one."""
        mean = labels[_known(target, labels)].mean()
        return self.given(target, labels, mean.expand(self.features.shape[1]), [])

    def given(
        self, target: Target, labels: Tensor, per_element: Tensor, notes: list[str]
    ) -> ColumnFit:
        """Contributions that are known, (n_elements,), and the scale of the rest."""
        known = _known(target, labels)
        features, values = self.features[known], labels[known]
        rest = values - features @ per_element
        total = features.sum(dim=1)
        heavy = total > 0
        residual = float(rest.std(correction=0))
        scale = float((rest[heavy] / total[heavy]).std(correction=0)) if bool(heavy.any()) else 0.0
        negligible = _NEGLIGIBLE * float(values.abs().max())
        if residual <= negligible or scale <= 0.0:
            notes = [*notes, f"nothing of {target.name} is left to learn: its scale is 1"]
            residual = scale = 1.0
        return ColumnFit(per_element, scale, residual, notes)


def _known(target: Target, labels: Tensor) -> Tensor:
    known = torch.isfinite(labels)
    if not bool(known.any()):
        raise InputError(f"no training frame has a value of '{target.name}'")
    return known
