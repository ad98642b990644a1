"""Heads: from an atom's features to a scalar and a vector."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hermnet.readouts.readout import ReadoutShape

_EPSILON = 1e-8  # under the root of |V v|^2, whose slope is infinite at zero


@final
class ScalarHead(nn.Module):
    """Scalars of each atom from its features of degree 0: a two-layer perceptron.

    Args:
        n_channels: channels of the features and width of the hidden layer.
        n_out: number of scalars.
    """

    def __init__(self, n_channels: int, n_out: int = 1) -> None:
        super().__init__()
        self.hidden = nn.Linear(n_channels, n_channels)
        self.out = nn.Linear(n_channels, n_out)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(n_atoms, (lmax+1)^2, n_channels) -> (n_atoms, n_out)."""
        result: Tensor = self.out(F.silu(self.hidden(x[:, 0])))
        return result


class VectorHead(nn.Module, ABC):
    """A scalar and a vector of each atom; the vector turns with the structure."""

    @abstractmethod
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(n_atoms, (lmax+1)^2, n_channels) -> (n_atoms, 1) and (n_atoms, 3)."""


@final
class NoVectorHead(VectorHead):
    """For features without degree 1: the vector is zero.

    Args:
        n_channels: channels of the features.
    """

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.scalar = ScalarHead(n_channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See `VectorHead.forward`."""
        return self.scalar(x), x.new_zeros(x.shape[0], 3)


@final
class GatedHead(VectorHead):
    """Two gated equivariant blocks, as in PaiNN (Schuett et al., ICML 2021, section 4.1.1).

    Args:
        n_channels: channels of the features; half as many in between.
    """

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        middle = max(n_channels // 2, 1)
        self.first = GatedBlock(n_channels, middle)
        self.second = GatedBlock(middle, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See `VectorHead.forward`."""
        s, v = self.first(x[:, 0], x[:, 1:4])
        s, v = self.second(F.silu(s), v)
        return s, v.squeeze(2)


@final
class GatedBlock(nn.Module):
    """``s' , g = MLP(s, |V v|)`` and ``v' = g U v``, figure 3 of the same paper.

    Args:
        n_in: channels before.
        n_out: channels after.
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.mix = nn.Linear(n_in, n_in + n_out, bias=False)
        self.hidden = nn.Linear(2 * n_in, n_in)
        self.out = nn.Linear(n_in, 2 * n_out)
        self.sizes = [n_in, n_out]
        nn.init.zeros_(self.out.bias)

    def forward(self, s: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """(n_atoms, n_in) and (n_atoms, 3, n_in) -> (n_atoms, n_out) and (n_atoms, 3, n_out)."""
        big_v, big_u = self.mix(v).split(self.sizes, dim=2)
        norm = torch.sqrt((big_v * big_v).sum(dim=1) + _EPSILON)
        scalars = self.out(F.silu(self.hidden(torch.cat((s, norm), dim=1))))
        own, gate = scalars.chunk(2, dim=1)
        return own, gate.unsqueeze(1) * big_u


def make_vector_head(shape: ReadoutShape) -> VectorHead:
    """The head that the features admit."""
    return GatedHead(shape.n_channels) if shape.lmax > 0 else NoVectorHead(shape.n_channels)
