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
from hermnet.expansion import Segments
from hermnet.grouped import grouped_matmul
from hermnet.kernels import affine


class WeightStack(nn.Module, ABC):
    """One matrix for each relation, however many parameters stand behind them."""

    @abstractmethod
    def forward(self, relation: Tensor | None = None) -> Tensor:
        """The matrices, (n_relations, n_in, n_out), or (1, n_in, n_out) when all are one.

        Args:
            relation: (n,) int64, those that are wanted; None for all.
        """

    @abstractmethod
    def take(self, other: WeightStack, rows: list[int], others: list[int]) -> None:
        """Become another stack in these rows, and in everything that relations have in common.

        Args:
            other: a stack of the same kind.
            rows: of this stack.
            others: the rows of `other` that they take.

        Raises:
            InputError: when the other stack is of another kind.
        """

    @abstractmethod
    def frozen(self, rows: list[int]) -> list[tuple[nn.Parameter, list[int] | None]]:
        """Parameters that must not change for these rows' matrices to stay.

        Returns:
            Each with the rows of it that are meant, None for all.
        """


def _uniform(bound: float, *shape: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound))


def _rows(weights: Tensor, relation: Tensor | None) -> Tensor:
    return weights if relation is None else weights.index_select(0, relation)


@final
class IndependentStack(WeightStack):
    """Every relation has a matrix of its own, of entries uniform in +-`bound` at the start.

    Args:
        n_relations: number of relations.
        shape: ``(n_in, n_out)`` of a matrix.
        bound: of the entries.
        shared: whether there is one matrix only, which all relations have.
    """

    def __init__(
        self, n_relations: int, shape: tuple[int, int], bound: float, shared: bool = False
    ) -> None:
        super().__init__()
        self._is_shared = shared
        self.weight = _uniform(bound, 1 if shared else n_relations, *shape)

    def forward(self, relation: Tensor | None = None) -> Tensor:
        """See `WeightStack.forward`."""
        return self.weight if self._is_shared else _rows(self.weight, relation)

    @torch.no_grad()
    def take(self, other: WeightStack, rows: list[int], others: list[int]) -> None:
        """See `WeightStack.take`; what stands behind the other's matrices does not matter."""
        weight = other().to(self.weight)
        if self._is_shared:
            self.weight.copy_(weight)
        else:
            self.weight[rows] = weight[others]

    def frozen(self, rows: list[int]) -> list[tuple[nn.Parameter, list[int] | None]]:
        """See `WeightStack.frozen`."""
        return [(self.weight, None if self._is_shared else rows)]


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

    def forward(self, relation: Tensor | None = None) -> Tensor:
        """See `WeightStack.forward`."""
        n_bases, n_in, n_out = self.bases.shape
        mixing = _rows(self.mixing, relation)
        return (mixing @ self.bases.view(n_bases, -1)).view(-1, n_in, n_out)

    @torch.no_grad()
    def take(self, other: WeightStack, rows: list[int], others: list[int]) -> None:
        """See `WeightStack.take`."""
        if not isinstance(other, BasisStack):
            raise InputError("weights with a low-rank change cannot become a basis; train without")
        self.bases.copy_(other.bases)
        self.mixing[rows] = other.mixing[others].to(self.mixing)

    def frozen(self, rows: list[int]) -> list[tuple[nn.Parameter, list[int] | None]]:
        """See `WeightStack.frozen`; with the bases, which other relations use too."""
        return [(self.bases, None), (self.mixing, rows)]


@final
class LowRankStack(WeightStack):
    """``W_r + A_r B_r`` with thin A and B: a small change of weights that stay.

    Hu et al., LoRA: Low-Rank Adaptation of Large Language Models (ICLR 2022), eq. 3. B is zero at
    the start.

    Args:
        base: the weights ``W_r``.
        rank: columns of A.
        bound: of the entries of A at the start.
    """

    def __init__(self, base: WeightStack, rank: int, bound: float) -> None:
        super().__init__()
        self.base = base
        n_matrices, n_in, n_out = base().shape
        self.down = _uniform(bound, n_matrices, n_in, rank)
        self.up = nn.Parameter(torch.zeros(n_matrices, rank, n_out))

    def forward(self, relation: Tensor | None = None) -> Tensor:
        """See `WeightStack.forward`."""
        weights: Tensor = self.base(relation)
        thin = (self.down, self.up)
        down, up = thin if len(self.down) == 1 else (_rows(t, relation) for t in thin)
        return weights + down @ up

    def take(self, other: WeightStack, rows: list[int], others: list[int]) -> None:
        """See `WeightStack.take`; the change stays zero."""
        self.base.take(other, rows, others)

    def frozen(self, rows: list[int]) -> list[tuple[nn.Parameter, list[int] | None]]:
        """What stands behind `base`: the change is what is trained."""
        return self.base.frozen(rows)


@dataclass(frozen=True)
class Sharing:
    """How relations share weights: every one its own, a basis, or one for all.

    Attributes:
        kind: ``independent``, ``basis`` or ``shared``.
        n_bases: number of common matrices of ``basis``.
        rank: of a change that is trained beside weights that stay; 0 for none.
    """

    kind: str
    n_bases: int = 0
    rank: int = 0

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
        stack: WeightStack
        if self.kind == "basis" and n_relations > 1:
            stack = BasisStack(n_relations, self.n_bases, (n_in, n_out), bound)
        else:
            stack = IndependentStack(n_relations, (n_in, n_out), bound, self.kind == "shared")
        return LowRankStack(stack, self.rank, bound) if self.rank else stack


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
        self.n_relations = n_relations
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

    def forward(self, x: Tensor, segments: Segments, n_out: int | None = None) -> Tensor:
        """Apply to rows sorted by relation.

        Args:
            x: (n_rows, ..., n_in); columns beyond `n_in` are ignored, they must be zero.
            segments: the rows' relations.
            n_out: how many columns of the output are wanted, from the first on; None for all.

        Returns:
            (n_rows, ..., n_out).
        """
        offsets, relation = segments
        weights = self.stack(relation)[..., :n_out]
        rows = x.reshape(-1, x.shape[-1])
        if self.has_bias and rows.shape[1] > self.n_in:
            rows = rows[:, : self.n_in]  # the column after them would meet the bias
        if x.dim() > 2:
            offsets = offsets * math.prod(x.shape[1:-1])
        if weights.shape[0] == 1:
            y = self._one(rows, weights.squeeze(0))
        elif not torch.is_autocast_enabled(x.device.type) and affine.takes(rows, weights):
            y = affine.affine(rows, weights, offsets, self.has_bias)
        else:
            y = self._many(rows, weights, offsets)
        return y.view(*x.shape[:-1], y.shape[-1])

    def _one(self, rows: Tensor, weight: Tensor) -> Tensor:
        if self.has_bias:
            return torch.addmm(weight[-1], rows, weight[:-1])
        if rows.shape[1] == self.n_in:
            return rows @ weight
        return rows @ F.pad(weight, (0, 0, 0, rows.shape[1] - self.n_in))

    def _many(self, rows: Tensor, weights: Tensor, offsets: Tensor) -> Tensor:
        # Columns to a multiple of four, which grouped_mm wants: the first meets the bias.
        columns = -(-max(rows.shape[1], weights.shape[1]) // 4) * 4
        rows = F.pad(rows, (0, columns - rows.shape[1]), value=1.0 if self.has_bias else 0.0)
        weights = F.pad(weights, (0, 0, 0, columns - weights.shape[1]))
        return grouped_matmul(rows, weights, offsets)
