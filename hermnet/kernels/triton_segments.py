"""Matrix products segment by segment, in Triton: what `hermnet.grouped` does on a GPU.

The ends of segments stay on the device: no program knows how long its segments are before it runs.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from hermnet.kernels.first_use import precision
from hermnet.kernels.triton_parts import CHUNK, room, segment_of, sum_pieces


@triton.jit(do_not_specialize=["n_rows", "n_segments"])
def _matmul(
    rows, weights, ends, out, n_rows, n_segments, n_in, n_out,
    row_stride, in_stride, w_stride, w_in_stride, w_out_stride,
    ACC: tl.constexpr, PRECISION: tl.constexpr,
    M: tl.constexpr, N: tl.constexpr, K: tl.constexpr,
):  # fmt: skip
    """A block of rows times a block of columns of the matrices of all segments it meets."""
    first = tl.program_id(0) * M
    stop = tl.minimum(first + M, n_rows)
    index = (first + tl.arange(0, M)).to(tl.int64)
    n = tl.program_id(1) * N + tl.arange(0, N)
    segment = segment_of(ends, n_segments, first)
    row = first
    while (row < stop) & (segment < n_segments):
        end = tl.minimum(tl.load(ends + segment), stop)
        if end > row:
            inside = (index >= row) & (index < end)
            w = weights + segment.to(tl.int64) * w_stride
            total = tl.zeros((M, N), ACC)
            for start in range(0, n_in, K):
                k = start + tl.arange(0, K)
                left = rows + index[:, None] * row_stride + k[None, :] * in_stride
                a = tl.load(left, mask=inside[:, None] & (k < n_in)[None, :], other=0.0)
                right = w + k[:, None] * w_in_stride + n[None, :] * w_out_stride
                b = tl.load(right, mask=(k < n_in)[:, None] & (n < n_out)[None, :], other=0.0)
                total += tl.dot(a.to(ACC), b.to(ACC), input_precision=PRECISION, out_dtype=ACC)
            to = out + index[:, None] * n_out + n[None, :]
            result = total.to(out.dtype.element_ty)
            tl.store(to, result, mask=inside[:, None] & (n < n_out)[None, :])
        row = end
        segment += 1


@triton.jit(do_not_specialize=["n_rows", "n_segments"])
def _outer(
    rows, others, ends, parts, n_rows, n_segments, n_in, n_out,
    row_stride, in_stride, other_stride, out_stride,
    ACC: tl.constexpr, PRECISION: tl.constexpr, CHUNK: tl.constexpr,
    M: tl.constexpr, N: tl.constexpr, K: tl.constexpr,
):  # fmt: skip
    """A block of ``A^T C`` over one piece of the rows, apart for each segment it meets."""
    piece = tl.program_id(0)
    row = piece * CHUNK
    stop = tl.minimum(row + CHUNK, n_rows)
    m = tl.program_id(1) * M + tl.arange(0, M)
    n = tl.program_id(2) * N + tl.arange(0, N)
    segment = segment_of(ends, n_segments, row)
    while (row < stop) & (segment < n_segments):
        end = tl.minimum(tl.load(ends + segment), stop)
        total = tl.zeros((M, N), ACC)
        for start in range(row, end, K):
            k = (start + tl.arange(0, K)).to(tl.int64)
            left = rows + k[None, :] * row_stride + m[:, None] * in_stride
            a = tl.load(left, mask=(m < n_in)[:, None] & (k < end)[None, :], other=0.0)
            right = others + k[:, None] * other_stride + n[None, :] * out_stride
            b = tl.load(right, mask=(k < end)[:, None] & (n < n_out)[None, :], other=0.0)
            total += tl.dot(a.to(ACC), b.to(ACC), input_precision=PRECISION, out_dtype=ACC)
        to = parts + (piece + segment).to(tl.int64) * n_in * n_out
        to += m[:, None] * n_out + n[None, :]
        tl.store(to, total, mask=(m < n_in)[:, None] & (n < n_out)[None, :])
        row = end
        segment += 1


def _options(dtype: torch.dtype) -> dict[str, object]:
    acc = tl.float64 if dtype == torch.float64 else tl.float32
    # bfloat16 is exact in TF32; torch's own kernel takes whatever of it has aligned rows
    exact = "tf32" if dtype == torch.bfloat16 else precision(dtype)
    return {"ACC": acc, "PRECISION": exact, "num_warps": 4, "num_stages": 1}


def _block(size: int, largest: int) -> int:
    """A power of two, at least the 16 that a product of blocks wants."""
    return min(largest, max(16, int(triton.next_power_of_2(size))))


def segment_matmul(rows: Tensor, weights: Tensor, offsets: Tensor) -> Tensor:
    """See `hermnet.grouped`; strides may be any, also of ``weights.transpose(1, 2)``."""
    n_rows, n_in = rows.shape
    n_segments, _, n_out = weights.shape
    out = rows.new_empty(n_rows, n_out)
    if out.numel() == 0:
        return out
    M = _block(n_rows // n_segments, 64)  # short segments leave long blocks empty
    N, K = _block(n_out, 32), _block(n_in, 32)
    grid = (triton.cdiv(n_rows, M), triton.cdiv(n_out, N))
    _matmul[grid](
        rows, weights, offsets.contiguous(), out, n_rows, n_segments, n_in, n_out,
        *rows.stride(), *weights.stride(), M=M, N=N, K=K, **_options(rows.dtype),
    )  # fmt: skip
    return out


def segment_outer(rows: Tensor, others: Tensor, offsets: Tensor) -> Tensor:
    """See `hermnet.grouped`; strides may be any."""
    (n_rows, n_in), n_out, n_segments = rows.shape, others.shape[1], offsets.shape[0]
    if n_rows == 0 or n_in * n_out == 0:
        return rows.new_zeros(n_segments, n_in, n_out)
    ends = offsets.contiguous()
    parts = room(n_rows, n_segments, (n_in, n_out), rows)
    M, N = _block(n_in, 64), _block(n_out, 32)
    grid = (triton.cdiv(n_rows, CHUNK), triton.cdiv(n_in, M), triton.cdiv(n_out, N))
    _outer[grid](
        rows, others, ends, parts, n_rows, n_segments, n_in, n_out,
        *rows.stride(), *others.stride(), CHUNK=CHUNK, M=M, N=N, K=64, **_options(rows.dtype),
    )  # fmt: skip
    return sum_pieces(parts, ends, rows.dtype)
