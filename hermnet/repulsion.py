"""ZBL repulsion: what keeps atoms apart where no training frame has been."""

from __future__ import annotations

import torch
from ase.data import covalent_radii
from ase.units import Bohr, Hartree
from torch import Tensor, nn

from hermnet.envelopes import PolynomialEnvelope
from hermnet.segments import segment_sum

# Universal screening function, Ziegler, Biersack and Littmark, The Stopping and Range of Ions in
# Solids (Pergamon, 1985), eq. 2-74; its length is 0.8854 Bohr / (Z_i^0.23 + Z_j^0.23).
_AMPLITUDES = (0.18175, 0.50986, 0.28022, 0.02817)
_DECAYS = (3.19980, 0.94229, 0.40290, 0.20162)
_SCREENING_LENGTH = 0.8854 * Bohr


class ZBL(nn.Module):
    r"""``E_i = 1/2 sum_j k Z_i Z_j / r phi(r / a) f(r / (R_i + R_j))`` with an envelope f.

    The envelope ends it at the sum of the covalent radii: bonds at equilibrium are left to the
    network.

    Args:
        elements: the model's atomic numbers.
        cutoff: the model's cutoff in A, where the neighbor list ends.
    """

    def __init__(self, elements: tuple[int, ...], cutoff: float) -> None:
        super().__init__()
        numbers = torch.tensor(elements, dtype=torch.float64)
        radii = torch.tensor([covalent_radii[z] for z in elements], dtype=torch.float64)
        ends = (radii.unsqueeze(1) + radii).clamp(max=cutoff)
        self.register_buffer("charges", numbers, persistent=False)
        self.register_buffer("ends", ends, persistent=False)
        self.charges: Tensor
        self.ends: Tensor
        self.envelope = PolynomialEnvelope(1.0)

    def forward(self, lengths: Tensor, types: Tensor, centers: Tensor, neighbors: Tensor) -> Tensor:
        """Per-atom energies in eV, (n_atoms,) in the dtype of `lengths`.

        Args:
            lengths: (n_edges,) in A.
            types: (n_atoms,) int64, index into the elements.
            centers: (n_edges,) int64.
            neighbors: (n_edges,) int64.
        """
        i, j = types.index_select(0, centers), types.index_select(0, neighbors)
        zi, zj = self.charges.index_select(0, i), self.charges.index_select(0, j)
        a = (_SCREENING_LENGTH / (zi**0.23 + zj**0.23)).to(lengths.dtype)
        terms = [c * torch.exp(-d * lengths / a) for c, d in zip(_AMPLITUDES, _DECAYS, strict=True)]
        coulomb = (0.5 * Hartree * Bohr * zi * zj).to(lengths.dtype) / lengths
        fade = self.envelope(lengths / self.ends[i, j].to(lengths.dtype))
        energies = coulomb * torch.stack(terms).sum(dim=0) * fade
        return segment_sum(energies, centers, types.shape[0])
