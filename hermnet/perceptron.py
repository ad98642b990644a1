"""Two relation-wise layers with SiLU between them, which is most of what relations multiply."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hermnet.expansion import Segments
from hermnet.kernels import perceptron
from hermnet.relational import RelationalLinear


def relational_perceptron(
    layers: tuple[RelationalLinear, RelationalLinear],
    x: Tensor,
    segments: Segments,
    atoms: Tensor | None = None,
) -> Tensor:
    """``second(silu(first(x)))``.

    Args:
        layers: first and second, both with biases.
        x: (n_atoms, n_in).
        segments: the rows' relations.
        atoms: (n_rows,) int64, the row of `x` that each row has; by default row k has row k.

    Returns:
        (n_rows, n_out), rows sorted by relation.
    """
    first, second = layers
    # mixed precision multiplies with fewer digits, as the kernel does not
    if not torch.is_autocast_enabled(x.device.type):
        weights = first.stack(segments.relation), second.stack(segments.relation)
        if perceptron.takes(x, *weights):
            return perceptron.perceptron(x, *weights, atoms, segments.ends)
    rows = x if atoms is None else x.index_select(0, atoms)
    y: Tensor = second(F.silu(first(rows, segments)), segments)
    return y
