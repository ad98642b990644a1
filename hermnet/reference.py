"""Reference energies of the elements and the scale of the interaction energy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from hermnet.elements import symbol
from hermnet.errors import InputError


class Reference(nn.Module):
    """``e_i = reference[element(i)] + scale * y_i`` in float64.

    Both are fitted on the training set and kept in the checkpoint. They stay in float64 whatever
    the model's dtype: a total energy of 10^4 eV has no meV left in float32.

    Args:
        elements: the model's atomic numbers.
    """

    def __init__(self, elements: Sequence[int]) -> None:
        super().__init__()
        self.elements = tuple(elements)
        self.register_buffer("energies", torch.zeros(len(elements), dtype=torch.float64))
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))
        self.energies: Tensor
        self.scale: Tensor

    def set(self, energies: Mapping[int, float], scale: float) -> None:
        """Store reference energies (eV, by atomic number) and the scale (eV).

        Raises:
            InputError: when an element has no reference energy.
        """
        missing = [symbol(z) for z in self.elements if z not in energies]
        if missing:
            raise InputError(f"no reference energy for {', '.join(missing)}")
        for index, z in enumerate(self.elements):
            self.energies[index] = energies[z]
        self.scale.fill_(scale)

    def forward(self, y: Tensor, types: Tensor) -> Tensor:
        """Per-atom energies in eV.

        Args:
            y: (n_atoms,) the network's output.
            types: (n_atoms,) int64, index into the elements.

        Returns:
            (n_atoms,) float64.
        """
        return y.to(torch.float64) * self.scale + self.energies.index_select(0, types)
