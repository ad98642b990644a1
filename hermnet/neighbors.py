"""Neighbor lists: all pairs within the cutoff, periodic images and self-images included."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import vesin
from numpy.typing import NDArray

from hermnet.cell_list import cell_list
from hermnet.elements import symbol
from hermnet.errors import InputError
from hermnet.graph import AtomicGraph

if TYPE_CHECKING:
    from ase import Atoms

Array = NDArray[Any]

# Below this many atoms, starting vesin's threads takes longer than the search.
_SERIAL_BELOW = 2000

# Cutoffs, cells and proportions up to which vesin's way of laying cells is no matter.
_NEAR, _FEW_CELLS, _THIN = 25.0, 1e4, 20.0


def with_neighbors(graph: AtomicGraph, cutoff: float) -> AtomicGraph:
    """The same structure with its edges, sorted by center, then neighbor, then shift.

    An atom and its own periodic image are a pair like any other. Shifts refer to the positions as
    they are given, wrapped into the cell or not. The search runs where the structure is: on the CPU
    by vesin, elsewhere by `hermnet.cell_list`.

    Args:
        graph: one structure; edges that it has are replaced.
        cutoff: largest length of an edge in A.

    Raises:
        InputError: for a structure without atoms, positions that are not finite, a cutoff that is
            not positive, or periodic directions whose lattice vectors are zero or dependent.
        ValueError: if the graph holds several structures.
    """
    if graph.n_systems != 1:
        raise ValueError(f"with_neighbors takes one structure, not {graph.n_systems}")
    positions, cell = (t.detach().double() for t in (graph.positions, graph.cell[0]))
    pbc = graph.pbc[0]
    arrays = positions.cpu().numpy(), cell.cpu().numpy(), pbc.cpu().numpy()
    _check(*arrays, cutoff)
    if positions.device.type == "cpu" and not _far_flung(*arrays, cutoff):
        found = tuple(torch.from_numpy(array) for array in _pairs(*arrays, cutoff))
    else:
        found = cell_list(positions, cell, pbc, cutoff)
    made = dict(zip(("centers", "neighbors", "shifts"), found, strict=True))
    return AtomicGraph(**{**vars(graph), **made})  # what `replace` does, in half the time


def graph_from_atoms(atoms: Atoms, cutoff: float | None = None) -> AtomicGraph:
    """An ASE structure as a graph without labels.

    Args:
        atoms: at least one atom; nothing is wrapped or changed.
        cutoff: largest length of an edge in A; without one the graph has no edges.

    Raises:
        InputError: for an atom that is no element, and as `with_neighbors`.
    """
    graph = graph_of(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
    return graph if cutoff is None else with_neighbors(graph, cutoff)


def graph_of(numbers: Array, positions: Array, cell: Array, pbc: Array) -> AtomicGraph:
    """A structure as a graph without edges and labels, with memory of its own.

    Args:
        numbers: (n_atoms,) atomic numbers.
        positions: (n_atoms, 3) A.
        cell: (3, 3) A, rows are lattice vectors.
        pbc: (3,) bool.

    Raises:
        InputError: for no atoms, or an atom that is no element.
    """
    n_atoms = len(numbers)
    if n_atoms == 0:
        raise InputError("a structure without atoms")
    elements = np.array(numbers, dtype=np.int64)
    symbol(int(elements.min()))  # refuses dummy atoms
    symbol(int(elements.max()))
    return AtomicGraph(
        positions=torch.from_numpy(np.array(positions, dtype=np.float64)),
        atomic_numbers=torch.from_numpy(elements),
        cell=torch.from_numpy(np.array(cell, dtype=np.float64).reshape(1, 3, 3)),
        pbc=torch.from_numpy(np.array(pbc, dtype=np.bool_).reshape(1, 3)),
        batch=torch.zeros(n_atoms, dtype=torch.int64),
        centers=torch.empty(0, dtype=torch.int64),
        neighbors=torch.empty(0, dtype=torch.int64),
        shifts=torch.empty((0, 3), dtype=torch.float64),
    )


def _pairs(positions: Array, cell: Array, pbc: Array, cutoff: float) -> tuple[Array, Array, Array]:
    """Centers (n_edges,), neighbors (n_edges,) and shifts (n_edges, 3) of one structure."""
    search = vesin.NeighborList(
        cutoff=cutoff, full_list=True, n_threads=1 if len(positions) < _SERIAL_BELOW else 0
    )
    if not pbc.any():
        (pairs,) = search.compute(positions, np.zeros((3, 3)), pbc, quantities="P", copy=False)
        order = np.argsort(_place(pairs, len(positions)))
        centers, neighbors = _columns(pairs, order)
        return centers, neighbors, np.zeros((len(order), 3))
    # A lattice vector along which nothing repeats may be anything, zero included: drop it.
    box = np.where(pbc[:, None], cell, 0.0)
    pairs, shifts = search.compute(positions, box, pbc, quantities="PS", copy=False)
    order = np.lexsort((shifts[:, 2], shifts[:, 1], shifts[:, 0], _place(pairs, len(positions))))
    centers, neighbors = _columns(pairs, order)
    return centers, neighbors, shifts[order].astype(np.float64)


def _far_flung(positions: Array, cell: Array, pbc: Array, cutoff: float) -> bool:
    """Whether vesin might divide by zero, which ends the process.

    It makes 1e5 cells at most, in the proportions of the structure: of a long and thin one with
    more, such as a molecule that has lost an atom, less than one across (vesin 0.6). How it lays
    them where only some directions repeat is its own affair.
    """
    if positions.max() - positions.min() + np.abs(cell).max() < _NEAR * cutoff:
        return False  # at once for most structures
    extent = np.ptp(positions, axis=0)
    if max(extent.max(), *np.linalg.norm(cell[pbc], axis=1), 0.0) < _NEAR * cutoff:
        return False
    spans = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0) if pbc.all() else extent
    counts = np.maximum(spans / cutoff, 1.0)
    thin = counts.prod() > _FEW_CELLS and counts.max() > _THIN * counts.min()
    return bool(thin or (pbc.any() and not pbc.all()))


def _place(pairs: Array, n_atoms: int) -> Array:
    """One number for each pair (n_edges, 2), in the order of center, then neighbor."""
    return pairs[:, 0] * n_atoms + pairs[:, 1]


def _columns(pairs: Array, order: Array) -> tuple[Array, Array]:
    """Centers and neighbors in a new order, in memory of their own."""
    return pairs[order, 0].astype(np.int64), pairs[order, 1].astype(np.int64)


def _check(positions: Array, cell: Array, pbc: Array, cutoff: float) -> None:
    if not 0 < cutoff < math.inf:
        raise InputError(f"the cutoff must be a positive length in A, not {cutoff}")
    if len(positions) == 0:
        raise InputError("a structure without atoms has no neighbors")
    if not np.isfinite(positions).all():
        bad = np.flatnonzero(~np.isfinite(positions).all(axis=1))
        raise InputError(f"the position of atom {bad[0]} is not a finite number")
    if not np.isfinite(cell).all():
        raise InputError("the cell has an entry that is not a finite number")
    if pbc.any() and np.linalg.matrix_rank(cell[pbc]) < pbc.sum():
        raise InputError(
            f"the structure is periodic (pbc {pbc.tolist()}) but its lattice vectors "
            f"{cell.tolist()} are zero or dependent there"
        )
