"""Envelopes: smooth functions of distance that end at the cutoff."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from hermnet.errors import InputError, nearest


class Envelope(nn.Module, ABC):
    """A function that falls from 1 at distance 0 to 0 at the cutoff and stays 0 beyond.

    Args:
        cutoff: distance in A where the envelope ends.
    """

    def __init__(self, cutoff: float) -> None:
        super().__init__()
        self.cutoff = cutoff

    def forward(self, lengths: Tensor) -> Tensor:
        """Evaluate at `lengths` (n_edges,) in A; returns (n_edges,), dimensionless."""
        inside = self.shape(lengths / self.cutoff)
        return torch.where(lengths < self.cutoff, inside, torch.zeros_like(inside))

    @abstractmethod
    def shape(self, u: Tensor) -> Tensor:
        """The envelope inside the cutoff, as a function of ``u = length / cutoff``."""


class CosineEnvelope(Envelope):
    r"""``f(u) = (1 + cos(pi u)) / 2``; value and slope vanish at u = 1.

    Behler, J. Chem. Phys. 134, 074106 (2011), eq. 4.
    """

    def shape(self, u: Tensor) -> Tensor:
        """See the class."""
        return 0.5 * (1.0 + torch.cos(math.pi * u))


class PolynomialEnvelope(Envelope):
    r"""``f(u) = 1 - (p+1)(p+2)/2 u^p + p(p+2) u^(p+1) - p(p+1)/2 u^(p+2)``.

    Value, slope and curvature vanish at u = 1. Gasteiger et al., Directional Message Passing for
    Molecular Graphs (ICLR 2020), eq. 8.

    Args:
        cutoff: distance in A where the envelope ends.
        power: the exponent p; a larger one keeps the envelope near 1 for longer.
    """

    def __init__(self, cutoff: float, power: int = 6) -> None:
        super().__init__(cutoff)
        self.power = power

    def shape(self, u: Tensor) -> Tensor:
        """See the class."""
        p = self.power
        a, b, c = (p + 1) * (p + 2) / 2, p * (p + 2), p * (p + 1) / 2
        return 1.0 - u**p * (a - u * (b - u * c))


ENVELOPES: dict[str, type[Envelope]] = {
    "cosine": CosineEnvelope,
    "polynomial": PolynomialEnvelope,
}


def make_envelope(name: str, cutoff: float) -> Envelope:
    """The envelope called `name`; an unknown name raises `InputError`."""
    if name not in ENVELOPES:
        raise InputError(f"unknown envelope '{name}'; {nearest(name, ENVELOPES)}")
    return ENVELOPES[name](cutoff)
