"""Small structures for tests; float64, of at least five atoms and three elements but for one."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.build import molecule as ase_molecule

PBC = [[bool(k >> axis & 1) for axis in range(3)] for k in range(8)]


def molecule(seed: int = 0, stdev: float = 0.05) -> Atoms:
    """Ethanol (C2H5OH) without a cell, every coordinate displaced by `stdev` A."""
    atoms = ase_molecule("CH3CH2OH")
    atoms.rattle(stdev=stdev, seed=seed)
    return atoms


def crystal(seed: int = 0, stdev: float = 0.05) -> Atoms:
    """BaTiO3 in a triclinic cell shorter than a usual cutoff, so that atoms neighbor themselves."""
    atoms = Atoms(
        "BaTiO3",
        scaled_positions=[
            (0.0, 0.0, 0.0),
            (0.5, 0.5, 0.5),
            (0.5, 0.5, 0.0),
            (0.5, 0.0, 0.5),
            (0.0, 0.5, 0.5),
        ],
        cell=[[4.01, 0.0, 0.0], [0.31, 4.03, 0.0], [-0.17, 0.23, 4.07]],
        pbc=True,
    )
    atoms.rattle(stdev=stdev, seed=seed)
    return atoms


def mixture(seed: int = 0, n_atoms: int = 12) -> Atoms:
    """A random cloud of H, C, N, O and S, periodic along x and y; atoms at least 0.9 A apart."""
    rng = np.random.default_rng(seed)
    cell = np.array([[5.0, 0.0, 0.0], [0.6, 5.2, 0.0], [0.0, 0.0, 0.0]])
    positions: list[np.ndarray] = []
    images = np.array([[i, j] for i in (-1, 0, 1) for j in (-1, 0, 1)], dtype=float) @ cell[:2]
    while len(positions) < n_atoms:
        trial = rng.uniform(size=2) @ cell[:2] + np.array([0.0, 0.0, rng.uniform(0.0, 5.0)])
        near = [np.linalg.norm(images + trial - other, axis=1).min() for other in positions]
        if all(distance > 0.9 for distance in near):
            positions.append(trial)
    numbers = np.resize([1, 6, 7, 8, 16], n_atoms)
    return Atoms(numbers, positions=positions, cell=cell, pbc=[True, True, False])


def anything(seed: int) -> Atoms:
    """Any of: triclinic, left-handed, much smaller than the cutoff, slab with c = 0, no cell."""
    rng = np.random.default_rng(seed)
    n_atoms = int(rng.integers(1, 6))
    pbc = np.array(PBC[seed % 8])
    cell = np.zeros((3, 3))
    while abs(np.linalg.det(cell)) < 0.5:
        cell = rng.normal(size=(3, 3)) * [1.0, 3.0, 7.0][seed % 3]
    if seed % 4 < 2:  # nothing along the directions that do not repeat
        cell[~pbc] = 0.0
    positions = 4.0 * rng.normal(size=(n_atoms, 3))  # inside the cell or far out of it
    return Atoms(rng.integers(1, 90, n_atoms), positions, cell=cell, pbc=pbc)
