"""Readout: from an atom's invariant features to its energy."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


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
