"""The structures that speed is measured on, with neighbor lists and labels, the same for everyone.

A contender may live in another Python environment, so structures travel as plain arrays in one
``.npz`` file each; the names of the arrays are those of `AtomicGraph`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.collections import g2

from hermnet.datamodule import DATAMODULES
from hermnet.graph import AtomicGraph, collate
from hermnet.neighbors import graph_from_atoms

CUTOFF = 5.0  # A
METALS = ("Ni", "Co", "Fe", "Cr", "Mn", "Cu", "Al", "Ti", "V", "Pd")
LATTICE = 3.8  # A; the third shell of neighbors ends at 4.65 A, the fourth begins at 5.37 A
N_MOLECULES = 10

# A configuration of the rMD17 trajectory (Christensen and von Lilienfeld, Mach. Learn.: Sci.
# Technol. 1, 045018, 2020): atomic number, position in A.
_ASPIRIN = """
6 1.91 -1.44 0.01
6 1.11 1.04 -0.63
6 2.84 -0.69 -0.71
6 2.35 0.47 -1.18
6 -2.90 2.21 0.43
6 0.54 -1.08 0.32
6 0.24 0.27 0.04
8 -1.48 -1.88 1.42
8 -1.78 1.14 -1.43
8 0.11 -3.31 0.55
6 -0.40 -2.04 0.89
6 -1.82 1.40 -0.28
8 -0.93 0.86 0.63
1 -0.28 -3.99 1.07
1 2.26 -2.35 0.47
1 0.82 2.04 -0.90
1 3.81 -1.12 -0.94
1 3.03 1.23 -1.66
1 -2.72 3.22 0.58
1 -3.86 2.31 -0.13
1 -2.87 1.70 1.45
"""


def ethanols() -> list[AtomicGraph]:
    """The first ten training frames of rMD17 ethanol: 90 atoms and 720 edges in all."""
    data = DATAMODULES.get("rmd17")(n_train=N_MOLECULES, n_val=0)  # type: ignore[call-arg]  # its own
    data.set_cutoff(CUTOFF)
    data.setup()
    return list(data.graphs("train"))


def aspirins() -> list[AtomicGraph]:
    """Ten aspirins of 21 atoms, each displaced by 0.05 A."""
    table = np.array([line.split() for line in _ASPIRIN.strip().splitlines()], dtype=float)
    atoms = Atoms(table[:, 0].astype(int), table[:, 1:])
    return [_labelled(_rattled(atoms, 0.05, seed), seed) for seed in range(N_MOLECULES)]


def mixed_molecules() -> list[AtomicGraph]:
    """All molecules of H, C, N, O and F with at least three atoms of ASE's G2 collection."""
    found = [molecule(name) for name in g2.names]
    chosen = [a for a in found if set(a.numbers) <= {1, 6, 7, 8, 9} and len(a) >= 3]
    return [_labelled(_rattled(atoms, 0.05, seed), seed) for seed, atoms in enumerate(chosen)]


def alloy(n_elements: int, seed: int = 0) -> AtomicGraph:
    """216 atoms in equal shares on a rattled fcc lattice, with random labels."""
    return lattice(METALS[:n_elements], 6, seed)


def lattice(elements: tuple[str, ...], n_cells: int, seed: int = 0) -> AtomicGraph:
    """An fcc alloy of equal shares, of `n_cells` primitive cells along each axis."""
    rng = np.random.default_rng(seed)
    atoms = bulk("Ni", "fcc", a=LATTICE).repeat(n_cells)
    atoms.set_chemical_symbols(rng.permutation(np.resize(elements, len(atoms))))
    return _labelled(_rattled(atoms, 0.1, seed), seed)


def silicon(n_cells: int) -> AtomicGraph:
    """Diamond of 8 atoms a cell, `n_cells` cells along each axis, 28 neighbors each."""
    return _labelled(_rattled(bulk("Si", cubic=True).repeat(n_cells), 0.05, 0), 0)


CASES: dict[str, Callable[[], AtomicGraph]] = {
    "10 ethanols": lambda: collate(ethanols()),
    "10 aspirins": lambda: collate(aspirins()),
    "mixed molecules": lambda: collate(mixed_molecules()),
    "216-atom alloy": lambda: alloy(5),
    "512-atom Si": lambda: silicon(4),
    "4096-atom Si": lambda: silicon(8),
    "216-atom alloy, 10 elements": lambda: alloy(10),
}


def save(graph: AtomicGraph, path: Path) -> None:
    """Write the arrays of a graph."""
    arrays = {f.name: getattr(graph, f.name) for f in fields(graph)}
    there = {name: value.numpy() for name, value in arrays.items() if value is not None}
    np.savez(path, allow_pickle=False, **there)


def _rattled(atoms: Atoms, stdev: float, seed: int) -> Atoms:
    moved = atoms.copy()
    moved.rattle(stdev=stdev, seed=seed)
    return moved


def _labelled(atoms: Atoms, seed: int) -> AtomicGraph:
    rng = np.random.default_rng(seed)
    return replace(
        graph_from_atoms(atoms, CUTOFF),
        energy=torch.from_numpy(rng.normal(size=1)),
        forces=torch.from_numpy(rng.normal(size=(len(atoms), 3))),
    )
