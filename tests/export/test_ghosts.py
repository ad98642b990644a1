from __future__ import annotations

import numpy as np
import pytest

from hermnet.export.ghosts import depth, reaching


def chain(n_atoms: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centers, neighbors and vectors of atoms 2 A apart along y, linked to those beside them."""
    forward = np.arange(n_atoms - 1)
    centers = np.concatenate((forward, forward + 1))
    neighbors = np.concatenate((forward + 1, forward))
    order = np.argsort(centers, kind="stable")
    step = np.where(neighbors > centers, 2.0, -2.0)[order]
    vectors = np.stack((0 * step, step, 0 * step), axis=1)
    return centers[order], neighbors[order], vectors


@pytest.mark.parametrize(("n_layers", "n_edges"), [(1, 1), (2, 3), (3, 5), (4, 7), (5, 8), (6, 8)])
def test_edges_that_matter(n_layers: int, n_edges: int):
    centers, neighbors, _ = chain(5)
    used = reaching(np.arange(5) == 0, centers, neighbors, n_layers)
    assert used.sum() == n_edges
    assert used[:n_edges].all()


def test_how_far_ghosts_reach():
    centers, neighbors, vectors = chain(8)
    owned = np.isin(np.arange(8), (2, 3))
    assert depth(owned, centers, neighbors, vectors) == 8.0  # atoms 4 to 7
    assert depth(owned[::-1], centers, neighbors, vectors) == 8.0  # atoms 3 to 0
    linked = (centers < 4) & (neighbors < 4)
    assert depth(owned, centers[linked], neighbors[linked], vectors[linked]) == 4.0
    assert depth(np.ones(8, dtype=bool), centers, neighbors, vectors) == 0.0
