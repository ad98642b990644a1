"""The operators of `hermnet.kernels.message` with operators of torch: tensors per edge and channel.

What Triton's kernels are held against, and what does their work where they cannot. With x a row of
phi, h its factor in ``<g, out>`` without the filter, f the filter and m = x f, all (n_edges, 3,
n_channels), every result is bilinear in these, and its derivative is by the rule of products.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

Results = tuple[Tensor, ...]


class _Terms(NamedTuple):
    """What each edge has of the inputs."""

    x: Tensor  # (n_edges, 3, n_channels)
    v: Tensor  # (n_edges, 3, n_channels)
    basis: Tensor  # (n_edges, n_basis)
    dirs: Tensor  # (n_edges, 3, 1)
    weight: Tensor  # (n_slots, n_basis, 3 n_channels)
    f: Tensor  # (n_edges, 3, n_channels)

    @property
    def m(self) -> Tensor:
        """(n_edges, 3, n_channels)."""
        return self.x * self.f


def message(*arguments: Any) -> Tensor:
    """See `hermnet.kernels.message`."""
    *inputs, ends, rows, neighbors, atoms, n_rows = arguments
    a = _terms(inputs, ends, neighbors, atoms)
    return _sum(_moved(a.m, a.dirs, a.v), rows, n_rows)


def message_first(grad: Tensor, *arguments: Any) -> Results:
    """See `hermnet.kernels.message`."""
    *inputs, ends, rows, neighbors, atoms, needs = arguments
    a = _terms(inputs, ends, neighbors, atoms)
    g = grad.index_select(0, rows)
    h = _factors(g, a.dirs, a.v)
    found = _spread(h * a.f, a.m, g, inputs, (neighbors, atoms))
    wanted = [found[0], found[1], _to_basis(h * a.x, a.weight, ends), found[2]]
    return _only([*wanted, _to_weight(a.basis, h * a.x, ends)], inputs, needs)


def message_second(*arguments: Any) -> Results:
    """See `hermnet.kernels.message`: the derivative of `message_first` along the tangents."""
    grad, inputs = arguments[5], arguments[6:11]
    ends, rows, neighbors, atoms, needs = arguments[11:]
    pairs = zip(arguments[:5], inputs, strict=True)
    tangents = [torch.zeros_like(x) if t is None else t for t, x in pairs]
    a, t = (_terms(given, ends, neighbors, atoms) for given in (inputs, tangents))
    # the derivative of a product is not the product of derivatives
    t_f = (_matmul(t.basis, a.weight, ends) + _matmul(a.basis, t.weight, ends)).view_as(a.f)
    t_m = t.x * a.f + a.x * t_f
    g = grad.index_select(0, rows)
    h, t_h = _factors(g, a.dirs, a.v), _factors(g, t.dirs, t.v)
    t_h[:, 0] = 0.0  # the first does not depend on inputs
    by_filter, t_by_filter = h * a.x, t_h * a.x + h * t.x
    moved = _moved(t_m, a.dirs, a.v) + _moved(a.m, t.dirs, t.v).index_fill(1, rows.new_zeros(1), 0)
    found = _spread(t_h * a.f + h * t_f, t_m, g, inputs, (neighbors, atoms))
    results = [
        found[0],
        found[1],
        _to_basis(t_by_filter, a.weight, ends) + _to_basis(by_filter, t.weight, ends),
        found[2],
        _to_weight(t.basis, by_filter, ends) + _to_weight(a.basis, t_by_filter, ends),
    ]
    return _sum(moved, rows, grad.shape[0]), *_only(results, inputs, needs >> 1)


def _terms(inputs: Sequence[Tensor], ends: Tensor, neighbors: Tensor, atoms: Tensor) -> _Terms:
    phi, v, basis, dirs, weight = inputs
    x = phi.index_select(0, neighbors).view(-1, 3, v.shape[2])
    basis = basis[:, : weight.shape[1]]
    f = _matmul(basis, weight, ends).view_as(x)
    return _Terms(x, v.index_select(0, atoms), basis, dirs.unsqueeze(2), weight, f)


def _matmul(rows: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
    result: Tensor = (
        rows @ weight[0]
        if len(weight) == 1
        else torch.ops.hermnet.segment_matmul(rows, weight, ends)
    )
    return result


def _moved(m: Tensor, dirs: Tensor, v: Tensor) -> Tensor:
    """Messages (n_edges, 4, n_channels)."""
    return torch.cat((m[:, :1], m[:, 1:2] * dirs + m[:, 2:] * v), dim=1)


def _factors(g: Tensor, dirs: Tensor, v: Tensor) -> Tensor:
    vectors = g[:, 1:]
    return torch.stack((g[:, 0], (vectors * dirs).sum(1), (vectors * v).sum(1)), dim=1)


def _sum(values: Tensor, index: Tensor, n: int) -> Tensor:
    return values.new_zeros(n, *values.shape[1:]).index_add(0, index, values)


def _spread(
    by_x: Tensor, m: Tensor, g: Tensor, inputs: Sequence[Tensor], senders: tuple[Tensor, Tensor]
) -> Results:
    """The gradients of phi, v and directions."""
    phi, v = inputs[:2]
    d_phi = _sum(by_x, senders[0], len(phi)).view_as(phi)
    d_v = _sum(m[:, 2:] * g[:, 1:], senders[1], len(v))
    return d_phi, d_v, (m[:, 1:2] * g[:, 1:]).sum(2)


def _to_basis(by_filter: Tensor, weight: Tensor, ends: Tensor) -> Tensor:
    return _matmul(by_filter.flatten(1), weight.transpose(1, 2), ends)


def _to_weight(basis: Tensor, by_filter: Tensor, ends: Tensor) -> Tensor:
    result: Tensor = torch.ops.hermnet.segment_outer(basis, by_filter.flatten(1), ends)
    return result


def _only(results: list[Tensor], inputs: Sequence[Tensor], needs: int) -> Results:
    """Those that are wanted, in the shapes of the inputs, the others empty."""
    basis, weight = inputs[2], inputs[4]
    results[2] = F.pad(results[2], (0, basis.shape[1] - results[2].shape[1]))
    if len(weight) == 1:
        results[4] = results[4].sum(0, keepdim=True)  # one matrix for all slots
    pairs = enumerate(results)
    return tuple(r if needs >> k & 1 else r.new_empty(0) for k, r in pairs)
