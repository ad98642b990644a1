"""The electronic spatial extent from charges of the atoms."""

from __future__ import annotations

from typing import ClassVar, final

from torch import Tensor

from hermnet.graph import AtomicGraph
from hermnet.readouts.atom_heads import ScalarHead
from hermnet.readouts.baseline import Baseline, WeightedSums
from hermnet.readouts.center_of_mass import CenterOfMass
from hermnet.readouts.readout import Calibration, PropertyReadout, ReadoutShape, Target
from hermnet.segments import segment_sum


@final
class SpatialExtentReadout(PropertyReadout):
    r"""``<R^2> = sum_i q_i |r_i - r_0|^2`` in A^2, with r_0 the center of mass.

    Schuett et al. (PaiNN), ICML 2021, section 4.1.1. Here q counts electrons: least squares give
    each element its own number, and the network what differs from that.

    Args:
        shape: sizes and elements.
        target: which scalar of the data it is.
    """

    needs_molecules: ClassVar[bool] = True

    def __init__(self, shape: ReadoutShape, *, target: str = "r2") -> None:
        super().__init__(shape)
        self.targets = (Target(target, "area"),)
        self.head = ScalarHead(shape.n_channels)
        self.baseline = Baseline(len(shape.elements), 1)
        self.center = CenterOfMass()

    def calibrate(self, graph: AtomicGraph, types: Tensor, labels: Tensor) -> Calibration:
        """See `PropertyReadout.calibrate`."""
        sums = WeightedSums.of(graph, types, self._squares(graph), len(self.baseline.per_element))
        fit = sums.least_squares(self.targets[0], labels[:, 0])
        self.baseline.set(0, fit)
        return Calibration([fit.residual], fit.notes)

    def forward(self, x: Tensor, types: Tensor, graph: AtomicGraph) -> Tensor:
        """See `PropertyReadout.forward`."""
        charges = self.baseline(self.head(x), types)  # (n_atoms, 1)
        return spatial_extent(charges.squeeze(1), self._squares(graph), graph).unsqueeze(1)

    def _squares(self, graph: AtomicGraph) -> Tensor:
        """Squared distances from the center of mass, (n_atoms,) in A^2."""
        squares: Tensor = self.center(graph).square().sum(dim=1)
        return squares


def spatial_extent(charges: Tensor, squares: Tensor, graph: AtomicGraph) -> Tensor:
    """``sum_i q_i |r_i|^2`` for each structure, (n_systems,) in A^2.

    Args:
        charges: (n_atoms,) electrons.
        squares: (n_atoms,) squared distances from the origin in A^2.
        graph: says which atoms belong together.
    """
    return segment_sum(charges * squares, graph.batch, graph.n_systems)
