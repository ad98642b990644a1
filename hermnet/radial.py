"""Radial bases: a distance as a vector of smooth functions."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from hermnet.errors import InputError, nearest


class RadialBasis(nn.Module, ABC):
    """Functions of the distance on [0, cutoff]; the envelope is applied elsewhere.

    Args:
        n_radial: number of functions.
        cutoff: end of the interval, A.
    """

    def __init__(self, n_radial: int, cutoff: float) -> None:
        super().__init__()
        self.n_radial = n_radial
        self.cutoff = cutoff

    @abstractmethod
    def forward(self, lengths: Tensor) -> Tensor:
        """Evaluate at `lengths` (n_edges,) in A; returns (n_edges, n_radial)."""


class SineBasis(RadialBasis):
    r"""``e_n(r) = sin(n pi r / cutoff) / r``, n = 1, 2, ...

    The basis of PaiNN (Schuett et al., ICML 2021, section 4.2) and of HermNet (Wang et al., npj
    Comput. Mater. 8, 53 (2022)), there with the cutoff of 5 A.
    """

    def __init__(self, n_radial: int, cutoff: float) -> None:
        super().__init__(n_radial, cutoff)
        self.register_buffer("order", torch.arange(1, n_radial + 1, dtype=torch.float64))
        self.order: Tensor

    def forward(self, lengths: Tensor) -> Tensor:
        """See the class; (n_edges,) -> (n_edges, n_radial), 1/A."""
        r = lengths.unsqueeze(-1)
        return torch.sin(r * (self.order.to(r.dtype) * (math.pi / self.cutoff))) / r


class BesselBasis(RadialBasis):
    r"""``e_n(r) = sqrt(2 / cutoff) sin(w_n r / cutoff) / r`` with ``w_n = n pi`` at the start.

    Gasteiger et al., Directional Message Passing for Molecular Graphs (ICLR 2020), eq. 7. The
    frequencies w_n are trained, as there and in NequIP.
    """

    def __init__(self, n_radial: int, cutoff: float) -> None:
        super().__init__(n_radial, cutoff)
        self.frequencies = nn.Parameter(math.pi * torch.arange(1, n_radial + 1))

    def forward(self, lengths: Tensor) -> Tensor:
        """See the class; (n_edges,) -> (n_edges, n_radial)."""
        r = lengths.unsqueeze(-1)
        return math.sqrt(2.0 / self.cutoff) * torch.sin(r * self.frequencies / self.cutoff) / r


class GaussianBasis(RadialBasis):
    r"""``e_n(r) = exp(-(r - mu_n)^2 / (2 d^2))``, mu_n at even distances d on [0, cutoff].

    Schuett et al., SchNet, J. Chem. Phys. 148, 241722 (2018), section II.C.
    """

    def __init__(self, n_radial: int, cutoff: float) -> None:
        super().__init__(n_radial, cutoff)
        self.register_buffer("middles", torch.linspace(0, cutoff, n_radial, dtype=torch.float64))
        self.middles: Tensor
        self.width = cutoff / max(n_radial - 1, 1)

    def forward(self, lengths: Tensor) -> Tensor:
        """See the class; (n_edges,) -> (n_edges, n_radial)."""
        distance = (lengths.unsqueeze(-1) - self.middles.to(lengths.dtype)) / self.width
        return torch.exp(-0.5 * distance * distance)


class BernsteinBasis(RadialBasis):
    r"""``e_k(r) = C(K, k) u^k (1 - u)^(K - k)``, ``u = exp(-g r)``, k = 0 ... K = n_radial - 1.

    Exponential Bernstein polynomials, PhysNet/SpookyNet style: Unke et al., SpookyNet, Nat. Commun.
    12, 7273 (2021), eq. 11 and 12; g = 1 / (2 a0) = 0.9448630629 / A as published there.
    """

    decay = 0.9448630629

    def __init__(self, n_radial: int, cutoff: float) -> None:
        super().__init__(n_radial, cutoff)
        top = n_radial - 1
        logs = [math.log(math.comb(top, k)) for k in range(n_radial)]
        self.register_buffer("log_binomials", torch.tensor(logs, dtype=torch.float64))
        self.register_buffer("order", torch.arange(n_radial, dtype=torch.float64))
        self.log_binomials: Tensor
        self.order: Tensor

    def forward(self, lengths: Tensor) -> Tensor:
        """See the class; (n_edges,) -> (n_edges, n_radial)."""
        x = -self.decay * lengths.unsqueeze(-1)  # log u
        order = self.order.to(x.dtype)
        rest = (self.n_radial - 1) - order
        return torch.exp(
            self.log_binomials.to(x.dtype) + order * x + rest * torch.log(-torch.expm1(x))
        )


RADIAL_BASES: dict[str, type[RadialBasis]] = {
    "bessel": BesselBasis,
    "sine": SineBasis,
    "gaussian": GaussianBasis,
    "bernstein": BernsteinBasis,
}


def make_radial_basis(name: str, n_radial: int, cutoff: float) -> RadialBasis:
    """The basis called `name`; an unknown name raises `InputError`."""
    if name not in RADIAL_BASES:
        raise InputError(f"unknown radial basis '{name}'; {nearest(name, RADIAL_BASES)}")
    return RADIAL_BASES[name](n_radial, cutoff)
