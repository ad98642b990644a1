"""Sums of gathered rows times rows of edges, in Triton: `hermnet.kernels.convolution` on GPUs."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from hermnet.kernels.triton_groups import pieces

_TILE = {"E": 32, "B": 32, "num_warps": 4}  # edges and channels


@triton.jit
def sums(a, b, from_, order, begins, stops, out, C: tl.constexpr, E: tl.constexpr, B: tl.constexpr):
    """B channels of a row of the result."""
    row = tl.program_id(0).to(tl.int64)
    c = tl.program_id(1) * B + tl.arange(0, B)
    begin, stop = tl.load(begins + row), tl.load(stops + row)
    total = tl.zeros((B,), out.dtype.element_ty)
    for start in range(begin, stop, E):
        place = start + tl.arange(0, E)
        inside = (place < stop)[:, None] & (c < C)[None, :]
        e = tl.load(order + place, mask=place < stop, other=0).to(tl.int64)
        j = tl.load(from_ + e, mask=place < stop, other=0)
        left = tl.load(a + j[:, None] * C + c[None, :], mask=inside, other=0.0)
        total += tl.sum(left * tl.load(b + e[:, None] * C + c[None, :], mask=inside, other=0.0), 0)
    tl.store(out + row * C + c, total, mask=c < C)


@triton.jit(do_not_specialize=["n_edges"])
def products(a, b, to, from_, out, n_edges, C: tl.constexpr, E: tl.constexpr, B: tl.constexpr):
    """E rows of products, in B channels."""
    e = tl.program_id(0).to(tl.int64) * E + tl.arange(0, E)
    c = tl.program_id(1) * B + tl.arange(0, B)
    inside = (e < n_edges)[:, None] & (c < C)[None, :]
    i = tl.load(to + e, mask=e < n_edges, other=0)
    j = tl.load(from_ + e, mask=e < n_edges, other=0)
    left = tl.load(a + i[:, None] * C + c[None, :], mask=inside, other=0.0)
    right = tl.load(b + j[:, None] * C + c[None, :], mask=inside, other=0.0)
    tl.store(out + e[:, None] * C + c[None, :], left * right, mask=inside)


def product_sum(a: Tensor, b: Tensor, to: Tensor, from_: Tensor, n: int, runs: bool) -> Tensor:
    """See `hermnet.kernels.convolution`."""
    n_channels = a.shape[1]
    if n * n_channels == 0 or len(to) == 0:
        return a.new_zeros(n, n_channels)
    a, b, from_ = a.contiguous(), b.contiguous(), from_.contiguous()
    of_row = pieces(to, n, runs)
    begins, stops, order = of_row.groups
    out = a.new_empty(len(begins), n_channels)
    sums[(len(begins), triton.cdiv(n_channels, _TILE["B"]))](
        a, b, from_, order, begins, stops, out, C=n_channels, **_TILE
    )
    return of_row.summed(out)


def edge_product(a: Tensor, b: Tensor, to: Tensor, from_: Tensor, runs: bool) -> Tensor:
    """See `hermnet.kernels.convolution`."""
    n_edges, n_channels = len(to), a.shape[1]
    out = a.new_empty(n_edges, n_channels)
    if out.numel() == 0:
        return out
    given = (t.contiguous() for t in (a, b, to, from_))
    grid = (triton.cdiv(n_edges, _TILE["E"]), triton.cdiv(n_channels, _TILE["B"]))
    products[grid](*given, out, n_edges, C=n_channels, **_TILE)
    return out
