"""The operators of `hermnet.kernels.message` on GPUs: which kernels make which results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from hermnet.kernels.first_use import precision
from hermnet.kernels.triton_filters import by_direction, by_edge, by_piece
from hermnet.kernels.triton_groups import groups, pieces, slots_of
from hermnet.kernels.triton_message import by_row, by_sender
from hermnet.kernels.triton_parts import CHUNK, room, sum_pieces

Results = tuple[Tensor, ...]
# Edges and channels of a tile, and warps: the fastest measured on an H200. The first three make
# filters one function after another; the others multiply matrices, of all functions at once.
_TILES = {
    "by_row": (4, 64, 1),
    "by_sender": (4, 64, 1),
    "by_direction": (4, 64, 1),
    "by_edge": (64, 32, 4),
    "by_piece": (32, 16, 1),
}
_PRODUCTS = ("by_edge", "by_piece")
_MOST_BASIS = 128  # functions; their tile has to stay in registers


class _Call(NamedTuple):
    """What all kernels of one call get."""

    inputs: list[Tensor]
    tangents: list[Tensor]  # stand-ins of one row of zeros where there is none
    steps: list[int]  # from row to row, 0 in a stand-in: of v, then of tangents
    ends: Tensor
    rows: Tensor
    neighbors: Tensor
    atoms: Tensor
    options: dict[str, Any]

    @property
    def slots(self) -> Tensor:
        """The slot of each edge."""
        return slots_of(self.ends, self.rows.shape[0])


def message(*arguments: Any) -> Tensor:
    """See `hermnet.kernels.message`."""
    *inputs, ends, rows, neighbors, atoms, n_rows = arguments
    call = _call(inputs, [None] * 5, (ends, rows, neighbors, atoms))
    return _by_row(call, n_rows)


def message_first(grad: Tensor, *arguments: Any) -> Results:
    """See `hermnet.kernels.message`."""
    *inputs, ends, rows, neighbors, atoms, needs = arguments
    call = _call(inputs, [None] * 5, (ends, rows, neighbors, atoms))
    return _gradients(call, grad.contiguous(), needs)


def message_second(*arguments: Any) -> Results:
    """See `hermnet.kernels.message`."""
    tangents, grad, inputs = arguments[:5], arguments[5], arguments[6:11]
    call = _call(inputs, tangents, arguments[11:15])
    needs = arguments[15]
    out = _by_row(call, grad.shape[0]) if needs & 1 else torch.zeros_like(grad)
    return out, *_gradients(call, grad.contiguous(), needs >> 1)


def _rows_dense(v: Tensor) -> Tensor:
    """Rows (3, n_channels) in one piece, however far apart."""
    return v if v.stride(2) == 1 and v.stride(1) == v.shape[2] else v.contiguous()


def _tangent(tangent: Tensor | None, like: Tensor) -> Tensor:
    if tangent is None:
        return like.new_zeros(1, *like.shape[1:])
    return _rows_dense(tangent) if like.dim() == 3 and like.shape[1] == 3 else tangent.contiguous()


def tile(name: str, dtype: torch.dtype, is_second: bool, n_basis: int) -> dict[str, Any]:
    """What a kernel is compiled for: smaller tiles where numbers are longer or there are more."""
    n_edges, n_channels, num_warps = _TILES[name]
    is_double = dtype == torch.float64
    if name not in _PRODUCTS:
        n_edges //= 1 + is_double
        return {"E": n_edges, "B": n_channels, "num_warps": num_warps, "num_stages": 1}
    if is_double:
        n_edges, n_channels, num_warps = 16, 16, 8
    elif is_second and num_warps == 1:
        n_edges = 16
    size = {"E": n_edges, "B": n_channels, "K": max(16, triton.next_power_of_2(n_basis))}
    return {**size, "PRECISION": precision(dtype), "num_warps": num_warps, "num_stages": 1}


def _options(name: str, call: _Call) -> dict[str, Any]:
    n_basis = call.inputs[4].shape[1]
    return call.options | tile(name, call.inputs[0].dtype, call.options["TANGENT"], n_basis)


def _call(inputs: Sequence[Tensor], tangents: Sequence[Tensor | None], edges: Any) -> _Call:
    phi, v, basis, dirs, weight = inputs
    n_basis, n_channels = weight.shape[1], v.shape[2]
    if n_basis > _MOST_BASIS:
        raise ValueError(f"{n_basis} radial functions; at most {_MOST_BASIS} fit into a kernel")
    ends, rows, neighbors, atoms = (t.contiguous() for t in edges)
    dense = [phi.contiguous(), _rows_dense(v), *(t.contiguous() for t in (basis, dirs, weight))]
    given = [_tangent(t, like) for t, like in zip(tangents, dense, strict=True)]
    is_second = any(t is not None for t in tangents)
    options = {
        "C": n_channels,
        "TANGENT": is_second,
        "WEIGHT": tangents[4] is not None,
    }
    steps = [dense[1].stride(0)]
    steps += [0 if t is None else g.stride(0) for t, g in zip(tangents, given, strict=True)]
    one = ends if weight.shape[0] > 1 else ends[-1:]  # one matrix for all: one slot
    return _Call(dense, given, steps, one, rows, neighbors, atoms, options)


def _by_row(call: _Call, n_rows: int) -> Tensor:
    phi, _, basis, _, weight = call.inputs
    options = _options("by_row", call)
    C = options["C"]
    out = phi.new_empty(n_rows, 4, C)
    if len(call.rows) == 0:
        return out.zero_()
    v, p_t, v_t, b_t, d_t, _ = call.steps
    of_row = groups(call.rows, n_rows, runs=True)
    by_row[(n_rows, triton.cdiv(C, options["B"]))](
        *call.inputs, *call.tangents, call.neighbors, call.atoms, call.slots,
        of_row.begins, of_row.stops, out,
        weight.shape[1], v, p_t, v_t, basis.stride(0), b_t, d_t, **options,
    )  # fmt: skip
    return out


def _gradients(call: _Call, grad: Tensor, needs: int) -> Results:
    """Those that are wanted, the others empty."""
    wanted = [bool(needs >> k & 1) for k in range(5)]
    if len(call.rows) == 0:
        return tuple(
            t.new_zeros(t.shape if need else 0) for t, need in zip(call.inputs, wanted, strict=True)
        )
    d_phi, d_v = _by_sender(call, grad, *wanted[:2])
    empty = grad.new_empty(0)
    return (
        d_phi,
        d_v,
        _by_edge(call, grad) if wanted[2] else empty,
        _by_direction(call, grad) if wanted[3] else empty,
        _by_piece(call, grad) if wanted[4] else empty,
    )


def _by_sender(call: _Call, grad: Tensor, for_phi: bool, for_v: bool) -> tuple[Tensor, Tensor]:
    phi, v = call.inputs[:2]
    # Sources that are the atoms themselves: one pass for both.
    if call.neighbors.data_ptr() == call.atoms.data_ptr() and len(phi) == len(v):
        return _of_keys(call, grad, (call.neighbors, len(phi)), for_phi, for_v)
    d_phi, _ = _of_keys(call, grad, (call.neighbors, len(phi)), for_phi, False)
    _, d_v = _of_keys(call, grad, (call.atoms, len(v)), False, for_v)
    return d_phi, d_v


def _of_keys(
    call: _Call, grad: Tensor, keys: tuple[Tensor, int], for_phi: bool, for_v: bool
) -> tuple[Tensor, Tensor]:
    phi, v, basis, _, weight = call.inputs
    if not (for_phi or for_v):
        return phi.new_empty(0), v.new_empty(0)
    options, steps = _options("by_sender", call), call.steps
    of_key = pieces(*keys, runs=False)
    order, begins, stops = of_key.groups.order, of_key.groups.begins, of_key.groups.stops
    d_phi = phi.new_empty((len(begins), phi.shape[1]) if for_phi else 0)
    d_v = v.new_empty((len(begins), *v.shape[1:]) if for_v else 0)
    by_sender[(len(begins), triton.cdiv(options["C"], options["B"]))](
        grad, *call.inputs, *call.tangents, call.rows, call.neighbors, call.atoms, call.slots,
        order, begins, stops, d_phi, d_v,
        weight.shape[1], *steps[:3], basis.stride(0), *steps[3:5],
        PHI=for_phi, V=for_v, **options,
    )  # fmt: skip
    return (
        of_key.summed(d_phi) if for_phi else d_phi,
        of_key.summed(d_v) if for_v else d_v,
    )


def _by_edge(call: _Call, grad: Tensor) -> Tensor:
    phi, v, basis, dirs, weight = call.inputs
    t_phi, t_v, _, t_dirs, t_weight = call.tangents
    n_edges = len(call.rows)
    result, options = torch.zeros_like(basis), _options("by_edge", call)
    by_edge[(triton.cdiv(n_edges, options["E"]),)](
        grad, phi, v, dirs, weight, t_phi, t_v, t_dirs, t_weight,
        call.ends, call.rows, call.neighbors, call.atoms, result,
        n_edges, len(call.ends), weight.shape[1],
        *call.steps[:3], basis.stride(0), call.steps[4], **options,
    )  # fmt: skip
    return result


def _by_direction(call: _Call, grad: Tensor) -> Tensor:
    phi, _, basis, dirs, weight = call.inputs
    t_phi, _, t_basis, _, t_weight = call.tangents
    n_edges = len(call.rows)
    result, options = torch.empty_like(dirs), _options("by_direction", call)
    by_direction[(triton.cdiv(n_edges, options["E"]),)](
        grad, phi, basis, weight, t_phi, t_basis, t_weight,
        call.ends, call.rows, call.neighbors, result, n_edges, len(call.ends), weight.shape[1],
        call.steps[1], basis.stride(0), call.steps[3], **options,
    )  # fmt: skip
    return result


def _by_piece(call: _Call, grad: Tensor) -> Tensor:
    phi, _, basis, _, weight = call.inputs
    n_edges, n_slots = len(call.rows), len(call.ends)
    options = {name: x for name, x in _options("by_piece", call).items() if name != "WEIGHT"}
    parts = room(n_edges, n_slots, tuple(weight.shape[1:]), phi)
    by_piece[(triton.cdiv(n_edges, CHUNK), triton.cdiv(options["C"], options["B"]))](
        grad, *call.inputs[:4], *call.tangents[:4],
        call.ends, call.rows, call.neighbors, call.atoms, parts, n_edges, n_slots, weight.shape[1],
        *call.steps[:3], basis.stride(0), *call.steps[3:5], CHUNK=CHUNK, **options,
    )  # fmt: skip
    return sum_pieces(parts, call.ends, phi.dtype)
