"""Linear layers that know relations, and how relations share their weights."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hermnet.errors import InputError
from hermnet.grouped import grouped_matmul


class WeightStack(nn.Module, ABC):
    """One matrix for each relation, however many parameters stand behind them."""

    @abstractmethod
    def forward(self) -> Tensor:
        """The matrices, (n_relations, n_in, n_out), or (1, n_in, n_out) when all are one."""


def _uniform(bound: float, *shape: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound))


@final
class IndependentStack(WeightStack):
    """Every relation has a matrix of its own, of entries uniform in +-`bound` at the start."""

    def __init__(self, n_relations: int, n_in: int, n_out: int, bound: float) -> None:
        super().__init__()
        self.weight = _uniform(bound, n_relations, n_in, n_out)

    def forward(self) -> Tensor:
        """See `WeightStack.forward`."""
        return self.weight


@final
class BasisStack(WeightStack):
    r"""``W_r = sum_b a_rb V_b``: relations mix a few common matrices.

    Basis decomposition of Schlichtkrull et al., Modeling Relational Data with Graph Convolutional
    Networks (ESWC 2018), eq. 3.
    """

    def __init__(
        self, n_relations: int, n_bases: int, shape: tuple[int, int], bound: float
    ) -> None:
        super().__init__()
        self.bases = _uniform(bound, n_bases, *shape)
        # Rows of unit length keep the entries of W_r as large as those of V_b.
        mixing = F.normalize(torch.randn(n_relations, n_bases), dim=1)
        self.mixing = nn.Parameter(mixing)

    def forward(self) -> Tensor:
        """See `WeightStack.forward`."""
        n_bases, n_in, n_out = self.bases.shape
        return (self.mixing @ self.bases.view(n_bases, -1)).view(-1, n_in, n_out)


@dataclass(frozen=True)
class Sharing:
    """How relations share weights: every one its own, a basis, or one for all.

    Attributes:
        kind: ``independent``, ``basis`` or ``shared``.
        n_bases: number of common matrices of ``basis``.
    """

    kind: str
    n_bases: int = 0

    @classmethod
    def parse(cls, text: str) -> Sharing:
        """Read ``independent``, ``shared`` or ``basis:B``; anything else raises `InputError`."""
        if text in ("independent", "shared"):
            return cls(text)
        match = re.fullmatch(r"basis:([1-9]\d*)", text)
        if match is None:
            raise InputError(
                f"model.sharing: '{text}' is not independent, shared or basis:B, such as basis:4"
            )
        return cls("basis", int(match[1]))

    def stack(self, n_relations: int, n_in: int, n_out: int, bound: float) -> WeightStack:
        """A new stack of matrices for `n_relations`."""
        if self.kind == "basis" and n_relations > 1:
            return BasisStack(n_relations, self.n_bases, (n_in, n_out), bound)
        return IndependentStack(1 if self.kind == "shared" else n_relations, n_in, n_out, bound)


@final
class RelationalLinear(nn.Module):
    """``y = x W_r + b_r`` with the weights of each row's relation.

    Args:
        n_in: columns of the input.
        n_out: columns of the output.
        n_relations: number of relations.
        sharing: how they share weights (the biases included).
        bias: whether there are biases.
    """

    def __init__(
        self, n_in: int, n_out: int, n_relations: int, sharing: Sharing, bias: bool = True
    ) -> None:
        super().__init__()
        self.n_in = n_in
        self.has_bias = bias
        # The bias is one more row of the matrix, met by a column of ones.
        bound = math.sqrt(6.0 / (n_in + n_out))  # Glorot and Bengio, AISTATS 2010, eq. 16
        self.stack = sharing.stack(n_relations, n_in + int(bias), n_out, bound)
        if bias:
            self._zero_biases()

    @torch.no_grad()
    def _zero_biases(self) -> None:
        for weight in self.stack.parameters():
            if weight.dim() == 3:
                weight[:, -1] = 0.0

    def forward(self, x: Tensor, offsets: Tensor) -> Tensor:
        """Apply to rows sorted by relation.

        Args:
            x: (n_rows, ..., n_in); columns beyond `n_in` are ignored, they must be zero.
            offsets: (n_relations,) int32, where each relation's rows end.

        Returns:
            (n_rows, ..., n_out).
        """
        weights = self.stack()
        rows = x.reshape(-1, x.shape[-1])
        if self.has_bias and rows.shape[1] > self.n_in:
            rows = rows[:, : self.n_in]  # the column after them would meet the bias
        if x.dim() > 2:
            offsets = offsets * math.prod(x.shape[1:-1])
        if weights.shape[0] == 1:
            y = self._one(rows, weights[0])
        else:
            y = self._many(rows, weights, offsets)
        return y.view(*x.shape[:-1], y.shape[-1])

    def _one(self, rows: Tensor, weight: Tensor) -> Tensor:
        if self.has_bias:
            return torch.addmm(weight[-1], rows, weight[:-1])
        return rows @ F.pad(weight, (0, 0, 0, rows.shape[1] - self.n_in))

    def _many(self, rows: Tensor, weights: Tensor, offsets: Tensor) -> Tensor:
        # Columns to a multiple of four, which grouped_mm wants: the first meets the bias.
        columns = -(-max(rows.shape[1], weights.shape[1]) // 4) * 4
        rows = F.pad(rows, (0, columns - rows.shape[1]), value=1.0 if self.has_bias else 0.0)
        weights = F.pad(weights, (0, 0, 0, columns - weights.shape[1]))
        return grouped_matmul(rows, weights, offsets)
