"""The isotropic polarizability, from the tensor."""

from __future__ import annotations

from typing import ClassVar, final

import torch
from torch import Tensor

from hermnet.graph import AtomicGraph
from hermnet.readouts.atom_heads import make_vector_head
from hermnet.readouts.baseline import Baseline, WeightedSums
from hermnet.readouts.center_of_mass import CenterOfMass
from hermnet.readouts.readout import Calibration, PropertyReadout, ReadoutShape, Target
from hermnet.segments import segment_sum


@final
class PolarizabilityReadout(PropertyReadout):
    r"""A third of the trace of ``alpha = sum_i a_i I + nu_i r_i^T + r_i nu_i^T`` in A^3.

    Schuett et al. (PaiNN), ICML 2021, eq. 12, with positions r from the center of mass. Least
    squares give each element its own a, and the network what differs from that. Features without
    degree 1 leave nu out.

    Args:
        shape: sizes and elements.
        target: which scalar of the data it is.
    """

    needs_molecules: ClassVar[bool] = True

    def __init__(self, shape: ReadoutShape, *, target: str = "alpha") -> None:
        super().__init__(shape)
        self.targets = (Target(target, "volume"),)
        self.atoms = make_vector_head(shape)
        self.baseline = Baseline(len(shape.elements), 1)
        self.center = CenterOfMass()

    def calibrate(self, graph: AtomicGraph, types: Tensor, labels: Tensor) -> Calibration:
        """See `PropertyReadout.calibrate`."""
        per_atom = torch.ones(graph.n_atoms, dtype=torch.float64)
        sums = WeightedSums.of(graph, types, per_atom, len(self.baseline.per_element))
        fit = sums.least_squares(self.targets[0], labels[:, 0])
        self.baseline.set(0, fit)
        return Calibration([fit.residual], fit.notes)

    def tensor(self, x: Tensor, types: Tensor, graph: AtomicGraph) -> Tensor:
        """The polarizability tensor, (n_systems, 3, 3) float64 in A^3; arguments as `forward`."""
        y, directions = self.atoms(x)
        isotropic = self.baseline(y, types)  # (n_atoms, 1)
        nu = directions.to(torch.float64) * self.baseline.scale  # A^2
        return polarizability(isotropic.squeeze(1), nu, self.center(graph), graph)

    def forward(self, x: Tensor, types: Tensor, graph: AtomicGraph) -> Tensor:
        """See `PropertyReadout.forward`."""
        diagonal = self.tensor(x, types, graph).diagonal(dim1=1, dim2=2)
        return diagonal.mean(dim=1, keepdim=True)


def polarizability(
    isotropic: Tensor, directions: Tensor, positions: Tensor, graph: AtomicGraph
) -> Tensor:
    """``sum_i a_i I + nu_i r_i^T + r_i nu_i^T`` for each structure, (n_systems, 3, 3) in A^3.

    Args:
        isotropic: (n_atoms,) in A^3.
        directions: (n_atoms, 3) in A^2.
        positions: (n_atoms, 3) in A.
        graph: says which atoms belong together.
    """
    outer = directions.unsqueeze(2) * positions.unsqueeze(1)  # (n_atoms, 3, 3)
    identity = torch.eye(3, dtype=isotropic.dtype, device=isotropic.device)
    per_atom = isotropic.view(-1, 1, 1) * identity + outer + outer.transpose(1, 2)
    return segment_sum(per_atom, graph.batch, graph.n_systems)
