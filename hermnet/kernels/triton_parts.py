"""Steps that several kernels in Triton share: segments of sorted rows, sums over pieces of them.

Pieces are counted so that each pair of a piece of `CHUNK` rows and a segment that meets it has a
place of its own: number of the piece plus number of the segment, for either grows by one from a
pair to the next. So partial sums need no atomics, and have the same bits in every run.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

CHUNK = 256  # rows of a partial sum


@triton.jit
def segment_of(ends, n_segments, row):
    """The segment that holds a row."""
    low = 0
    high = n_segments
    while low < high:
        middle = (low + high) // 2
        is_beyond = tl.load(ends + middle) <= row
        low = tl.where(is_beyond, middle + 1, low)
        high = tl.where(is_beyond, high, middle)
    return low


@triton.jit(do_not_specialize=["size"])
def _sum_pieces(parts, ends, out, size, CHUNK: tl.constexpr, T: tl.constexpr, N: tl.constexpr):
    segment = tl.program_id(0)
    columns = tl.program_id(1) * N + tl.arange(0, N)
    begin = tl.load(ends + segment - 1, mask=segment > 0, other=0)
    end = tl.load(ends + segment)
    first = begin // CHUNK
    last = tl.where(end > begin, (end + CHUNK - 1) // CHUNK, first)
    total = tl.zeros((T, N), parts.dtype.element_ty)
    for piece in range(first, last, T):
        pieces = piece + tl.arange(0, T)
        inside = (pieces < last)[:, None] & (columns < size)[None, :]
        place = (pieces + segment).to(tl.int64)[:, None] * size + columns[None, :]
        total += tl.load(parts + place, mask=inside, other=0.0)
    at = segment.to(tl.int64) * size + columns
    result = tl.sum(total, 0).to(out.dtype.element_ty)
    tl.store(out + at, result, mask=columns < size)


def room(rows: int, n_segments: int, shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Room for partial sums, in a dtype to add up in."""
    dtype = torch.float32 if like.dtype == torch.bfloat16 else like.dtype
    return like.new_empty(triton.cdiv(rows, CHUNK) + n_segments, *shape, dtype=dtype)


def sum_pieces(parts: Tensor, ends: Tensor, dtype: torch.dtype, chunk: int = CHUNK) -> Tensor:
    """Partial sums (n_pieces + n_segments, ...) of `chunk` rows as (n_segments, ...)."""
    out = parts.new_empty(ends.shape[0], *parts.shape[1:], dtype=dtype)
    size = out[0].numel()
    grid = (ends.shape[0], triton.cdiv(size, 128))
    _sum_pieces[grid](parts, ends, out, size, CHUNK=chunk, T=16, N=128)
    return out
