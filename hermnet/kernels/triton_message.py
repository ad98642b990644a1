"""Filtered vector messages and their two derivatives, in Triton.

With ``<g, out>`` of `hermnet.kernels.message` as B, bilinear in g and in the features, four kernels
give its derivatives: by receiving row (in g), by sender (in phi and v), by edge (in the basis and
the directions) and by piece of the edges (in the weights). With `TANGENT` each gives its own
derivative along the tangents instead, which is what a second derivative consists of. Every kernel
computes the filters it needs anew, so nothing that is per edge and channel reaches memory; every
result is written by one program, so the bits are the same in every run.

Names: x_s, x_r, x_v are the three parts of phi, of the filter f; t_ is a tangent.
"""

from __future__ import annotations

import triton
import triton.language as tl

UNROLLED = tl.constexpr(4)  # radial functions


@triton.jit
def _three(p, index, stride, step, c, inside):
    """Three tiles (E, B) of rows that lie `stride` apart, each `step` after the one before."""
    at = p + index[:, None] * stride + c[None, :]
    return (
        tl.load(at, mask=inside, other=0.0),
        tl.load(at + step, mask=inside, other=0.0),
        tl.load(at + 2 * step, mask=inside, other=0.0),
    )


@triton.jit
def _vectors(p, index, stride, inside):
    """Three columns (E, 1) of directions."""
    at = p + index * stride
    x = tl.load(at, mask=inside, other=0.0)
    y = tl.load(at + 1, mask=inside, other=0.0)
    z = tl.load(at + 2, mask=inside, other=0.0)
    return x[:, None], y[:, None], z[:, None]


@triton.jit
def _channels(block, B: tl.constexpr):
    """B channels, of which the only warp's threads hold B / 32 neighbors each.

    A compiler that is told so lets them have the same channels of all rows, so that filters meet
    features and rows are added up within a thread.
    """
    V: tl.constexpr = B // 32
    return tl.max_contiguous(tl.multiple_of(block * B + tl.arange(0, B), V), V)


@triton.jit
def _filters(basis, e, stride, w, c, n_basis, C: tl.constexpr):
    """Three tiles (E, B), the parts of the filters."""
    inside = (c < C)[None, :]
    s = tl.zeros((e.shape[0], c.shape[0]), w.dtype.element_ty)
    r, v = s, s
    for k in tl.range(n_basis, loop_unroll_factor=UNROLLED):
        b = tl.load(basis + e[:, None] * stride + k)
        at = w + k * (3 * C) + c[None, :]
        s += b * tl.load(at, mask=inside, other=0.0)
        r += b * tl.load(at + C, mask=inside, other=0.0)
        v += b * tl.load(at + 2 * C, mask=inside, other=0.0)
    return s, r, v


@triton.jit
def _filter_tangents(
    basis, b_stride, t_basis, tb_stride, e, w, t_w, c, n_basis,
    C: tl.constexpr, WEIGHT: tl.constexpr,
):  # fmt: skip
    """The derivatives of the three tiles."""
    s, r, v = _filters(t_basis, e, tb_stride, w, c, n_basis, C)
    if WEIGHT:
        by_s, by_r, by_v = _filters(basis, e, b_stride, t_w, c, n_basis, C)
        s += by_s
        r += by_r
        v += by_v
    return s, r, v


@triton.jit(do_not_specialize=["n_basis"])
def by_row(
    phi, v, basis, dirs, weight, t_phi, t_v, t_basis, t_dirs, t_weight,
    neighbors, atoms, slots, begins, stops, out,
    n_basis, v_stride, tp_stride, tv_stride, b_stride, tb_stride, td_stride,
    C: tl.constexpr, E: tl.constexpr, B: tl.constexpr,
    TANGENT: tl.constexpr, WEIGHT: tl.constexpr,
):  # fmt: skip
    """The sums of a receiving row, in B channels."""
    row = tl.program_id(0).to(tl.int64)
    c = _channels(tl.program_id(1), B)
    s = tl.zeros((B,), out.dtype.element_ty)
    x, y, z = s, s, s
    begin, stop = tl.load(begins + row), tl.load(stops + row)
    slot = tl.load(slots + begin, mask=stop > begin, other=0).to(tl.int64)
    w, t_w = weight + slot * n_basis * (3 * C), t_weight + slot * n_basis * (3 * C)
    for start in range(begin, stop, E):
        place = start + tl.arange(0, E)
        is_edge = place < stop
        e = tl.minimum(place, stop - 1).to(tl.int64)
        inside = is_edge[:, None] & (c < C)[None, :]
        j = tl.load(neighbors + e, mask=is_edge, other=0)
        i = tl.load(atoms + e, mask=is_edge, other=0)
        dx, dy, dz = _vectors(dirs, e, 3, is_edge)
        fs, fr, fv = _filters(basis, e, b_stride, w, c, n_basis, C)
        ps, pr, pv = _three(phi, j, 3 * C, C, c, inside)
        vx, vy, vz = _three(v, i, v_stride, C, c, inside)
        m, q = pr * fr, pv * fv
        if TANGENT:
            tx, ty, tz = _vectors(t_dirs, e, td_stride, is_edge)
            tps, tpr, tpv = _three(t_phi, j, tp_stride, C, c, inside)
            tvx, tvy, tvz = _three(t_v, i, tv_stride, C, c, inside)
            tfs, tfr, tfv = _filter_tangents(
                basis, b_stride, t_basis, tb_stride, e, w, t_w, c, n_basis, C, WEIGHT
            )  # fmt: skip
            t_m, t_q = tpr * fr + pr * tfr, tpv * fv + pv * tfv
            s += tl.sum(tps * fs + ps * tfs, 0)
            x += tl.sum(t_m * dx + m * tx + t_q * vx + q * tvx, 0)
            y += tl.sum(t_m * dy + m * ty + t_q * vy + q * tvy, 0)
            z += tl.sum(t_m * dz + m * tz + t_q * vz + q * tvz, 0)
        else:
            s += tl.sum(ps * fs, 0)
            x += tl.sum(m * dx + q * vx, 0)
            y += tl.sum(m * dy + q * vy, 0)
            z += tl.sum(m * dz + q * vz, 0)
    tl.store(out + row * (4 * C) + c, s, mask=c < C)
    _store_three(out + row * (4 * C) + C, x, y, z, c, C)


@triton.jit
def _store_three(at, x, y, z, c, C: tl.constexpr):
    """Three rows of B channels that lie C apart."""
    tl.store(at + c, x, mask=c < C)
    tl.store(at + C + c, y, mask=c < C)
    tl.store(at + 2 * C + c, z, mask=c < C)


@triton.jit
def _of_one_slot(order, slots, at, stop, E: tl.constexpr):
    """Up to E edges from a place of the order on, all of the slot of the first."""
    place = at + tl.arange(0, E)
    e = tl.load(order + place, mask=place < stop, other=0).to(tl.int64)
    slot = tl.load(slots + tl.load(order + at))
    return e, slot.to(tl.int64), (place < stop) & (tl.load(slots + e) == slot)


@triton.jit(do_not_specialize=["n_basis"])
def by_sender(
    grad, phi, v, basis, dirs, weight, t_phi, t_v, t_basis, t_dirs, t_weight,
    rows, neighbors, atoms, slots, order, begins, stops, d_phi, d_v,
    n_basis, v_stride, tp_stride, tv_stride, b_stride, tb_stride, td_stride,
    C: tl.constexpr, E: tl.constexpr, B: tl.constexpr,
    TANGENT: tl.constexpr, WEIGHT: tl.constexpr,
    PHI: tl.constexpr, V: tl.constexpr,
):  # fmt: skip
    """The gradients of the row of a source in phi, of an atom in v, or of both where they are one.

    The edges of a sender lie in the order of slots, of which a tile takes one at a time.
    """
    sender = tl.program_id(0).to(tl.int64)
    c = _channels(tl.program_id(1), B)
    a = tl.zeros((B,), phi.dtype.element_ty)
    s, r, u, x, y, z = a, a, a, a, a, a
    at, stop = tl.load(begins + sender), tl.load(stops + sender)
    while at < stop:
        e, slot, is_edge = _of_one_slot(order, slots, at, stop, E)
        at += tl.sum(is_edge.to(tl.int32), 0)
        inside = is_edge[:, None] & (c < C)[None, :]
        w, t_w = weight + slot * n_basis * (3 * C), t_weight + slot * n_basis * (3 * C)
        fs, fr, fv = _filters(basis, e, b_stride, w, c, n_basis, C)
        row = tl.load(rows + e)
        gs = tl.load(grad + row[:, None] * (4 * C) + c[None, :], mask=inside, other=0.0)
        gx, gy, gz = _three(grad + C, row, 4 * C, C, c, inside)
        hs, hr, hv = fs, fr, fv
        if TANGENT:
            hs, hr, hv = _filter_tangents(
                basis, b_stride, t_basis, tb_stride, e, w, t_w, c, n_basis, C, WEIGHT
            )  # fmt: skip
        if PHI:
            i = tl.load(atoms + e)
            dx, dy, dz = _vectors(dirs, e, 3, is_edge)
            vx, vy, vz = _three(v, i, v_stride, C, c, inside)
            s += tl.sum(gs * hs, 0)
            r += tl.sum((gx * dx + gy * dy + gz * dz) * hr, 0)
            u += tl.sum((gx * vx + gy * vy + gz * vz) * hv, 0)
            if TANGENT:
                tx, ty, tz = _vectors(t_dirs, e, td_stride, is_edge)
                tvx, tvy, tvz = _three(t_v, i, tv_stride, C, c, inside)
                r += tl.sum((gx * tx + gy * ty + gz * tz) * fr, 0)
                u += tl.sum((gx * tvx + gy * tvy + gz * tvz) * fv, 0)
        if V:
            at_v = tl.load(neighbors + e)[:, None]
            q = hv * tl.load(phi + at_v * (3 * C) + 2 * C + c[None, :], mask=inside, other=0.0)
            if TANGENT:
                t_p = t_phi + at_v * tp_stride + 2 * C + c[None, :]
                q += fv * tl.load(t_p, mask=inside, other=0.0)
            x += tl.sum(q * gx, 0)
            y += tl.sum(q * gy, 0)
            z += tl.sum(q * gz, 0)
    if PHI:
        _store_three(d_phi + sender * (3 * C), s, r, u, c, C)
    if V:
        _store_three(d_v + sender * (3 * C), x, y, z, c, C)
