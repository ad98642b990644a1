"""The dipole moment from charges and dipoles of the atoms."""

from __future__ import annotations

from typing import ClassVar, final

import torch
from torch import Tensor

from hermnet.errors import InputError
from hermnet.graph import AtomicGraph
from hermnet.readouts.atom_heads import make_vector_head
from hermnet.readouts.center_of_mass import CenterOfMass
from hermnet.readouts.readout import Calibration, PropertyReadout, ReadoutShape, Target
from hermnet.segments import segment_sum


@final
class DipoleReadout(PropertyReadout):
    r"""``mu = sum_i mu_i + q_i (r_i - r_0)``, Schuett et al. (PaiNN), ICML 2021, eq. 11.

    The charges q of a molecule are shifted by one value so that they add up to zero, and r_0 is the
    center of mass: the dipole does not depend on the origin. Features without degree 1 have charges
    only.

    Args:
        shape: sizes and elements.
        norm: whether the label is the length of the dipole, a scalar, instead of the vector.
        target: which scalar of the data that is.
    """

    needs_molecules: ClassVar[bool] = True

    def __init__(self, shape: ReadoutShape, *, norm: bool = False, target: str = "mu") -> None:
        super().__init__(shape)
        vector = Target("dipole", "dipole", n_columns=3, from_dipole=True)
        self.norm = norm
        self.targets = (Target(target, "dipole") if norm else vector,)
        self.atoms = make_vector_head(shape)
        self.center = CenterOfMass()
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))
        self.scale: Tensor  # e A; of a charge, divided by 1 A

    def calibrate(self, graph: AtomicGraph, types: Tensor, labels: Tensor) -> Calibration:
        """See `PropertyReadout.calibrate`; the scale is the labels' root mean square."""
        known = labels[torch.isfinite(labels)]
        if not len(known):
            raise InputError(f"no training frame has a value of '{self.targets[0].name}'")
        size = float(known.square().mean().sqrt())
        spread = float(known.std(correction=0))
        if spread <= 0:
            self.scale.fill_(size or 1.0)
            return Calibration([1.0], [f"nothing of {self.targets[0].name} is left to learn"])
        self.scale.fill_(size)
        return Calibration([spread])

    def charges(self, x: Tensor, graph: AtomicGraph) -> tuple[Tensor, Tensor]:
        """Charges (n_atoms,) in e that add up to zero, and dipoles (n_atoms, 3) in e A."""
        q, dipoles = self.atoms(x)
        q = q.squeeze(1).to(torch.float64) * self.scale
        surplus = segment_sum(q, graph.batch, graph.n_systems) / graph.atoms_per_system()
        neutral = q - surplus.index_select(0, graph.batch)
        return neutral, dipoles.to(torch.float64) * self.scale

    def forward(self, x: Tensor, types: Tensor, graph: AtomicGraph) -> Tensor:
        """See `PropertyReadout.forward`."""
        charges, dipoles = self.charges(x, graph)
        dipole = total_dipole(charges, dipoles, self.center(graph), graph)
        # the length has slope zero, not NaN, where the dipole vanishes
        return torch.linalg.vector_norm(dipole, dim=1, keepdim=True) if self.norm else dipole


def total_dipole(charges: Tensor, dipoles: Tensor, positions: Tensor, graph: AtomicGraph) -> Tensor:
    """``sum_i mu_i + q_i r_i`` for each structure, (n_systems, 3) in e A.

    Args:
        charges: (n_atoms,) in e.
        dipoles: (n_atoms, 3) in e A.
        positions: (n_atoms, 3) in A.
        graph: says which atoms belong together.
    """
    return segment_sum(dipoles + charges.unsqueeze(1) * positions, graph.batch, graph.n_systems)
