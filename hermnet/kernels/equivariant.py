"""Products of gathered features, harmonics and weights, summed where they are received.

On GPUs cuEquivariance does in one kernel, without a tensor of edges x channels, what `nequip` sums.
Channel by channel, with features of degree l1, harmonics of l2 and results of l3 in a path p::

    out[rows_e, l3 k] += sum_p C^p_ijk x[senders_e, l1 i] y[e, l2 j] w[e, p]

Everything is a derivative of ``Q = <g, out>``, linear in each of its factors x, y, w and g: the sum
is dQ/dg, and what is derived from a derivative of Q is another with one other factor. So any order
of differentiation closes. See https://docs.nvidia.com/cuda/cuequivariance, "segmented polynomials".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

import torch
from torch import Tensor

from hermnet.grouped import is_tracing
from hermnet.kernels.choice import wanted
from hermnet.kernels.first_use import FirstUse, may_take_on_gpu
from hermnet.segments import segment_sum

_X, _Y, _W, _G = range(4)  # the factors of Q
_SUBSCRIPTS = "iu,j,u,ku+ijk"  # of these, and of C; u are channels
_LEAST = 2**25  # elements of w: with fewer its calls take longer than the kernel saves (H200)


@final
class Form:
    """Q, for given paths.

    Args:
        paths: degrees l1, l2 and l3 of each.
        tensors: C of each, (2 l1 + 1, 2 l2 + 1, 2 l3 + 1), on the CPU.
        product: of features, harmonics and weights of each edge, with operators of torch.
    """

    def __init__(
        self,
        paths: Sequence[tuple[int, int, int]],
        tensors: Sequence[Tensor],
        product: Callable[[Tensor, Tensor, Tensor], Tensor],
    ) -> None:
        self._paths = list(zip(paths, tensors, strict=True))
        self.product = product
        tops = [max(degrees) for degrees in zip(*paths, strict=True)]  # l1, l2 and l3
        self._rows = [[2 * degree + 1 for degree in range(1 + top)] for top in tops]
        self._made: dict[tuple[int, int, str], Any] = {}

    def summed(
        self, x: Tensor, y: Tensor, w: Tensor, ends: tuple[Tensor, Tensor], n_rows: int
    ) -> Tensor:
        """The sum.

        Args:
            x: (n_senders, (l1max+1)^2, n_channels).
            y: (n_edges, (lmax+1)^2).
            w: (n_edges, n_paths, n_channels).
            ends: rows and senders, (n_edges,) int64 each.
            n_rows: number of rows of the result.

        Returns:
            (n_rows, (lmax+1)^2, n_channels), zero where a row has no edges.
        """
        g = x.new_empty(1).expand(n_rows, y.shape[1], x.shape[2])  # for its shape
        return _derivative([x, y, w, g], self, ends, _G)

    def derivative(self, which: int, n_channels: int, method: str) -> Any:
        """By a factor: a module of cuEquivariance, which takes the other three."""
        key = which, n_channels, method
        if key not in self._made:
            import cuequivariance as cue  # late: its import takes seconds
            from cuequivariance_torch import SegmentedPolynomial

            product = cue.SegmentedTensorProduct.from_subscripts(_SUBSCRIPTS)
            of_x, of_y, of_g = self._rows
            product.add_segments(_X, [(n, n_channels) for n in of_x])
            product.add_segments(_G, [(n, n_channels) for n in of_g])
            product.add_segments(_Y, [(n,) for n in of_y])
            product.add_segments(_W, [(n_channels,)] * len(self._paths))
            for number, ((l1, l2, l3), tensor) in enumerate(self._paths):
                product.add_path(l1, l2, number, l3, c=tensor.double().numpy())
            polynomial = cue.SegmentedPolynomial.eval_last_operand(product.move_operand_last(which))
            self._made[key] = SegmentedPolynomial(polynomial, method=method)
            if self._made[key].method != method:  # it takes another with no more than a warning
                raise RuntimeError(f"cuequivariance_ops_torch does not work: no method {method}")
        return self._made[key]


def takes(x: Tensor, y: Tensor, w: Tensor) -> bool:
    """Whether cuEquivariance is wanted, there for these, and worth its calls."""
    pays = w.numel() >= _LEAST and not is_tracing()  # compiled code is faster than both
    return pays and may_take_on_gpu(x, y, w, maker="cuEquivariance")


def derivative(*arguments: Any) -> Tensor:
    """A derivative of Q by cuEquivariance.

    Args:
        arguments: all factors, then form, rows, senders, and by which factor it is derived.
    """
    *factors, form, rows, senders, which = arguments
    ends = {_X: senders, _G: rows}
    others = [k for k in range(4) if k != which]
    method = "uniform_1d" if rows.is_cuda else "naive"
    result: Tensor = form.derivative(which, factors[_X].shape[2], method)(
        [factors[k].flatten(1) for k in others],
        {place: ends[k] for place, k in enumerate(others) if k in ends},
        {0: rows.new_empty(len(factors[which]), 0)},  # it reads the number of rows only
        {0: ends[which]} if which in ends else None,
    )[0]
    return result.view(factors[which].shape)


def _plain(*arguments: Any) -> Tensor:
    """See `derivative`; by operators of torch."""
    *given, form, rows, senders, which = arguments
    factors = [t.detach() for t in given]
    factor = factors[which].requires_grad_()
    with torch.enable_grad():
        x, y, w, g = factors
        out = segment_sum(form.product(x.index_select(0, senders), y, w), rows, len(g))
    return out if which == _G else torch.autograd.grad(out, factor, g)[0]


_checked = FirstUse(__name__, derivative.__name__, _plain, by_last=True, maker="cuEquivariance")


class _Derivative(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        ctx.save_for_backward(*arguments[:4])
        ctx.rest = arguments[4:]
        result: Tensor = _checked(*arguments)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        form, rows, senders, which = ctx.rest
        factors = list(ctx.saved_tensors)
        factors[which] = grad
        found = [
            _derivative(factors, form, (rows, senders), k) if need else None
            for k, need in enumerate(wanted(ctx, 4))
        ]
        return *found, *[None] * 4


def _derivative(factors: list[Tensor], form: Form, ends: tuple[Tensor, Tensor], by: int) -> Tensor:
    given = [t.detach() if k == by else t for k, t in enumerate(factors)]
    # torch gives `apply` no types
    result: Tensor = _Derivative.apply(*given, form, *ends, by)  # type: ignore[no-untyped-call]
    return result
