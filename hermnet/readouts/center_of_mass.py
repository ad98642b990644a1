"""Positions relative to the center of mass."""

from __future__ import annotations

from typing import final

import torch
from ase.data import atomic_masses
from torch import Tensor, nn

from hermnet.graph import AtomicGraph
from hermnet.segments import segment_sum


@final
class CenterOfMass(nn.Module):
    """Moves the origin of every structure into its center of mass; without parameters."""

    def __init__(self) -> None:
        super().__init__()
        masses = torch.tensor(atomic_masses, dtype=torch.float64)  # by atomic number, amu
        self.register_buffer("masses", masses, persistent=False)
        self.masses: Tensor

    def forward(self, graph: AtomicGraph) -> Tensor:
        """Positions from the center of mass, (n_atoms, 3) float64 in A; periods do not count."""
        masses = self.masses.index_select(0, graph.atomic_numbers).unsqueeze(1)
        moments = segment_sum(masses * graph.positions, graph.batch, graph.n_systems)
        centers = moments / segment_sum(masses, graph.batch, graph.n_systems)
        return graph.positions - centers.index_select(0, graph.batch)
