"""Ghosts of a process of LAMMPS: which of them energies depend on, and how far they reach."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def reaching(owned: Array, centers: Array, neighbors: Array, n_layers: int) -> Array:
    """Which edges (n_edges,) the energies of some atoms depend on.

    In the last layer these are the atoms' own edges, in the one before also those of their
    neighbors, and so on.

    Args:
        owned: (n_atoms,) bool, the atoms.
        centers: (n_edges,) receiving atoms.
        neighbors: (n_edges,) sending atoms.
        n_layers: number of layers.
    """
    needed = owned.copy()
    for _ in range(n_layers - 1):
        needed[neighbors[needed[centers]]] = True
    result: Array = needed[centers]
    return result


def depth(owned: Array, centers: Array, neighbors: Array, vectors: Array) -> float:
    """How far the farthest ghost stands outside the box around the owned atoms, in A.

    LAMMPS does not say how far it communicates. Where atoms are dense this is about that. Only
    what hangs together with the first owned atom is looked at; 0 where no ghost does.

    Args:
        owned: (n_atoms,) bool.
        centers: (n_edges,).
        neighbors: (n_edges,).
        vectors: (n_edges, 3) from center to neighbor in A.
    """
    positions = np.zeros((len(owned), 3))
    known = np.zeros(len(owned), dtype=bool)
    known[np.flatnonzero(owned)[0]] = True
    while True:
        new = known[centers] & ~known[neighbors]
        if not new.any():
            break
        positions[neighbors[new]] = positions[centers[new]] + vectors[new]
        known[neighbors[new]] = True
    ghosts, own = positions[known & ~owned], positions[known & owned]
    if len(ghosts) == 0:
        return 0.0
    outside = np.maximum(ghosts - own.max(axis=0), own.min(axis=0) - ghosts)
    return float(outside.max())
