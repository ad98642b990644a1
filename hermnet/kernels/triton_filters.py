"""Derivatives of filtered vector messages in what edges and weights give, in Triton.

The gradient of an edge's filter is ``[g_s x_s ; (g . d) x_r ; (g . v) x_v]``. Times the turned
weights it is that of the basis, times the basis that of the weights. See `triton_message`.
"""

from __future__ import annotations

import triton
import triton.language as tl

from hermnet.kernels.triton_message import UNROLLED, _channels, _three, _vectors
from hermnet.kernels.triton_parts import segment_of


@triton.jit
def _matrix(w, k, c, n_basis, C: tl.constexpr):
    """A tile (K, B) of one part of a matrix of weights."""
    inside = (k < n_basis)[:, None] & (c < C)[None, :]
    return tl.load(w + k[:, None] * (3 * C) + c[None, :], mask=inside, other=0.0)


@triton.jit
def _rows(p, index, stride, k, inside, n_basis):
    """A tile (E, K) of rows of a basis."""
    at = p + index[:, None] * stride + k[None, :]
    return tl.load(at, mask=inside[:, None] & (k < n_basis)[None, :], other=0.0)


@triton.jit
def _gradients(
    grad, phi, v, dirs, row, j, i, e, is_edge, c, v_stride, C: tl.constexpr
):  # fmt: skip
    """Three tiles (E, B) of the gradient of the filters."""
    inside = is_edge[:, None] & (c < C)[None, :]
    gs = tl.load(grad + row[:, None] * (4 * C) + c[None, :], mask=inside, other=0.0)
    gx, gy, gz = _three(grad + C, row, 4 * C, C, c, inside)
    ps, pr, pv = _three(phi, j, 3 * C, C, c, inside)
    vx, vy, vz = _three(v, i, v_stride, C, c, inside)
    dx, dy, dz = _vectors(dirs, e, 3, is_edge)
    along, inner = gx * dx + gy * dy + gz * dz, gx * vx + gy * vy + gz * vz
    return gs * ps, along * pr, inner * pv


@triton.jit
def _gradient_tangents(
    grad, phi, v, dirs, t_phi, t_v, t_dirs, row, j, i, e, is_edge, c,
    v_stride, tp_stride, tv_stride, td_stride, C: tl.constexpr,
):  # fmt: skip
    """The derivatives of the three tiles."""
    inside = is_edge[:, None] & (c < C)[None, :]
    gs = tl.load(grad + row[:, None] * (4 * C) + c[None, :], mask=inside, other=0.0)
    gx, gy, gz = _three(grad + C, row, 4 * C, C, c, inside)
    tps, tpr, tpv = _three(t_phi, j, tp_stride, C, c, inside)
    dx, dy, dz = _vectors(dirs, e, 3, is_edge)
    tx, ty, tz = _vectors(t_dirs, e, td_stride, is_edge)
    pr = tl.load(phi + j[:, None] * (3 * C) + C + c[None, :], mask=inside, other=0.0)
    r = (gx * dx + gy * dy + gz * dz) * tpr + (gx * tx + gy * ty + gz * tz) * pr
    vx, vy, vz = _three(v, i, v_stride, C, c, inside)
    tvx, tvy, tvz = _three(t_v, i, tv_stride, C, c, inside)
    pv = tl.load(phi + j[:, None] * (3 * C) + 2 * C + c[None, :], mask=inside, other=0.0)
    u = (gx * vx + gy * vy + gz * vz) * tpv + (gx * tvx + gy * tvy + gz * tvz) * pv
    return gs * tps, r, u


@triton.jit
def _back(s, r, u, w, k, c, n_basis, C: tl.constexpr, PRECISION: tl.constexpr):
    """A tile (E, K): the three tiles of gradients times the turned weights."""
    kind = w.dtype.element_ty
    by_s, by_r = tl.trans(_matrix(w, k, c, n_basis, C)), tl.trans(_matrix(w + C, k, c, n_basis, C))
    by_v = tl.trans(_matrix(w + 2 * C, k, c, n_basis, C))
    total = tl.dot(s, by_s, input_precision=PRECISION, out_dtype=kind)
    total += tl.dot(r, by_r, input_precision=PRECISION, out_dtype=kind)
    return total + tl.dot(u, by_v, input_precision=PRECISION, out_dtype=kind)


@triton.jit(do_not_specialize=["n_edges", "n_slots", "n_basis"])
def by_edge(
    grad, phi, v, dirs, weight, t_phi, t_v, t_dirs, t_weight,
    ends, rows, neighbors, atoms, d_basis, n_edges, n_slots, n_basis,
    v_stride, tp_stride, tv_stride, b_stride, td_stride,
    C: tl.constexpr, E: tl.constexpr, B: tl.constexpr, K: tl.constexpr,
    TANGENT: tl.constexpr, WEIGHT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """The gradient in the basis, of E edges."""
    first = tl.program_id(0) * E
    stop = tl.minimum(first + E, n_edges)
    e = (first + tl.arange(0, E)).to(tl.int64)
    k = tl.arange(0, K)
    slot = segment_of(ends, n_slots, first)
    at = first
    while (at < stop) & (slot < n_slots):
        end = tl.minimum(tl.load(ends + slot), stop)
        is_edge = (e >= at) & (e < end)
        matrix = slot.to(tl.int64) * n_basis * (3 * C)
        row = tl.load(rows + e, mask=is_edge, other=0)
        j = tl.load(neighbors + e, mask=is_edge, other=0)
        i = tl.load(atoms + e, mask=is_edge, other=0)
        total = tl.zeros((E, K), phi.dtype.element_ty)
        for start in range(0, C, B):
            c = start + tl.arange(0, B)
            if TANGENT:
                s, r, u = _gradient_tangents(
                    grad, phi, v, dirs, t_phi, t_v, t_dirs, row, j, i, e, is_edge, c,
                    v_stride, tp_stride, tv_stride, td_stride, C,
                )  # fmt: skip
                total += _back(s, r, u, weight + matrix, k, c, n_basis, C, PRECISION)
            if WEIGHT or not TANGENT:
                w = t_weight if TANGENT else weight
                s, r, u = _gradients(grad, phi, v, dirs, row, j, i, e, is_edge, c, v_stride, C)
                total += _back(s, r, u, w + matrix, k, c, n_basis, C, PRECISION)
        to = d_basis + e[:, None] * b_stride + k[None, :]
        tl.store(to, total, mask=is_edge[:, None] & (k < n_basis)[None, :])
        at = end
        slot += 1


@triton.jit
def _filter(basis, e, stride, w, c, n_basis, C: tl.constexpr):
    """A tile (E, B) of one part of the filters."""
    f = tl.zeros((e.shape[0], c.shape[0]), w.dtype.element_ty)
    for k in tl.range(n_basis, loop_unroll_factor=UNROLLED):
        b = tl.load(basis + e[:, None] * stride + k)
        f += b * tl.load(w + k * (3 * C) + c[None, :], mask=(c < C)[None, :], other=0.0)
    return f


@triton.jit(do_not_specialize=["n_edges", "n_slots", "n_basis"])
def by_direction(
    grad, phi, basis, weight, t_phi, t_basis, t_weight,
    ends, rows, neighbors, d_dirs, n_edges, n_slots, n_basis, tp_stride, b_stride, tb_stride,
    C: tl.constexpr, E: tl.constexpr, B: tl.constexpr,
    TANGENT: tl.constexpr, WEIGHT: tl.constexpr,
):  # fmt: skip
    """The gradient in the directions, of E edges."""
    first = tl.program_id(0) * E
    stop = tl.minimum(first + E, n_edges)
    place = first + tl.arange(0, E)
    e = tl.minimum(place, n_edges - 1).to(tl.int64)
    row, j = tl.load(rows + e), tl.load(neighbors + e)[:, None]
    slot = segment_of(ends, n_slots, first)
    at = first
    while (at < stop) & (slot < n_slots):
        end = tl.minimum(tl.load(ends + slot), stop)
        is_edge = (place >= at) & (place < end)
        matrix = slot.to(tl.int64) * n_basis * (3 * C) + C
        x = tl.zeros((E,), phi.dtype.element_ty)
        y, z = x, x
        for block in range(0, tl.cdiv(C, B)):
            c = _channels(block, B)
            inside = is_edge[:, None] & (c < C)[None, :]
            f = _filter(basis, e, b_stride, weight + matrix, c, n_basis, C)
            p = tl.load(phi + j * (3 * C) + C + c[None, :], mask=inside, other=0.0)
            m = p * f
            if TANGENT:
                t_f = _filter(t_basis, e, tb_stride, weight + matrix, c, n_basis, C)
                if WEIGHT:
                    t_f += _filter(basis, e, b_stride, t_weight + matrix, c, n_basis, C)
                t_p = tl.load(t_phi + j * tp_stride + C + c[None, :], mask=inside, other=0.0)
                m = t_p * f + p * t_f
            gx, gy, gz = _three(grad + C, row, 4 * C, C, c, inside)
            x += tl.sum(m * gx, 1)
            y += tl.sum(m * gy, 1)
            z += tl.sum(m * gz, 1)
        tl.store(d_dirs + 3 * e, x, mask=is_edge)
        tl.store(d_dirs + 3 * e + 1, y, mask=is_edge)
        tl.store(d_dirs + 3 * e + 2, z, mask=is_edge)
        at = end
        slot += 1


@triton.jit
def _outer(b, s, r, u, PRECISION: tl.constexpr):
    """Three tiles (K, B): the turned basis times each tile of gradients."""
    turned = tl.trans(b)
    return (
        tl.dot(turned, s, input_precision=PRECISION, out_dtype=b.dtype),
        tl.dot(turned, r, input_precision=PRECISION, out_dtype=b.dtype),
        tl.dot(turned, u, input_precision=PRECISION, out_dtype=b.dtype),
    )


@triton.jit(do_not_specialize=["n_edges", "n_slots", "n_basis"])
def by_piece(
    grad, phi, v, basis, dirs, t_phi, t_v, t_basis, t_dirs,
    ends, rows, neighbors, atoms, parts, n_edges, n_slots, n_basis,
    v_stride, tp_stride, tv_stride, b_stride, tb_stride, td_stride,
    CHUNK: tl.constexpr, C: tl.constexpr, E: tl.constexpr, B: tl.constexpr, K: tl.constexpr,
    TANGENT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """The gradient in B columns of each part of the weights, of one piece of the edges."""
    piece = tl.program_id(0)
    c = tl.program_id(1) * B + tl.arange(0, B)
    k = tl.arange(0, K)
    at = piece * CHUNK
    stop = tl.minimum(at + CHUNK, n_edges)
    slot = segment_of(ends, n_slots, at)
    while (at < stop) & (slot < n_slots):
        end = tl.minimum(tl.load(ends + slot), stop)
        ds = tl.zeros((K, B), phi.dtype.element_ty)
        dr, dv = ds, ds
        for start in range(at, end, E):
            e = (start + tl.arange(0, E)).to(tl.int64)
            is_edge = e < end
            row = tl.load(rows + e, mask=is_edge, other=0)
            j = tl.load(neighbors + e, mask=is_edge, other=0)
            i = tl.load(atoms + e, mask=is_edge, other=0)
            b = _rows(basis, e, b_stride, k, is_edge, n_basis)
            if TANGENT:
                s, r, u = _gradient_tangents(
                    grad, phi, v, dirs, t_phi, t_v, t_dirs, row, j, i, e, is_edge, c,
                    v_stride, tp_stride, tv_stride, td_stride, C,
                )  # fmt: skip
                os, o_r, ov = _outer(b, s, r, u, PRECISION)
                ds, dr, dv = ds + os, dr + o_r, dv + ov
                b = _rows(t_basis, e, tb_stride, k, is_edge, n_basis)
            s, r, u = _gradients(grad, phi, v, dirs, row, j, i, e, is_edge, c, v_stride, C)
            os, o_r, ov = _outer(b, s, r, u, PRECISION)
            ds, dr, dv = ds + os, dr + o_r, dv + ov
        to = parts + (piece + slot).to(tl.int64) * n_basis * (3 * C)
        to += k[:, None] * (3 * C) + c[None, :]
        inside = (k < n_basis)[:, None] & (c < C)[None, :]
        tl.store(to, ds, mask=inside)
        tl.store(to + C, dr, mask=inside)
        tl.store(to + 2 * C, dv, mask=inside)
        at = end
        slot += 1
