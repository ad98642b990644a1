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

    def with_gradient(
        self,
        vectors: Tensor,
        types: Tensor,
        centers: Tensor,
        neighbors: Tensor,
        weights: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Energies, and the slope of their sum by the edges' vectors.

        There is nothing to learn, so that both can be differentiated only where the vectors can.

        Args:
            vectors: (n_edges, 3) in A.
            types: (n_atoms,) int64.
            centers: (n_edges,) int64.
            neighbors: (n_edges,) int64.
            weights: (n_atoms,) of the energies in the sum; by default 1.

        Returns:
            (n_atoms,) eV and (n_edges, 3) eV/A.
        """
        is_source = not vectors.requires_grad
        with torch.enable_grad():
            d = vectors.detach().requires_grad_() if is_source else vectors
            lengths = torch.linalg.vector_norm(d, dim=1)
            energies = self(lengths, types, centers, neighbors)
            total = energies.sum() if weights is None else torch.dot(energies, weights.to(d.dtype))
            (gradient,) = torch.autograd.grad(total, d, create_graph=not is_source)
        return (energies.detach() if is_source else energies), gradient
