"""Lists by tensor operations are those of ASE, and of vesin to the last edge and its place."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list

import structures
from hermnet import cell_list as module
from hermnet.cell_list import cell_list
from hermnet.graph import AtomicGraph
from hermnet.neighbors import graph_from_atoms, with_neighbors

CUTOFF = 3.1


def listed(graph: AtomicGraph, cutoff: float = CUTOFF) -> tuple[torch.Tensor, ...]:
    return cell_list(graph.positions, graph.cell[0], graph.pbc[0], cutoff)


def assert_as_vesin(atoms: Atoms, cutoff: float = CUTOFF) -> int:
    """The number of edges."""
    graph = graph_from_atoms(atoms, cutoff)
    centers, neighbors, shifts = listed(graph, cutoff)
    assert (centers.dtype, neighbors.dtype, shifts.dtype) == (
        torch.int64,
        torch.int64,
        torch.float64,
    )
    assert torch.equal(centers, graph.centers)
    assert torch.equal(neighbors, graph.neighbors)
    assert torch.equal(shifts, graph.shifts)
    return graph.n_edges


@pytest.mark.parametrize("seed", range(72))
def test_edges_are_those_of_ase_and_vesin(seed: int):
    atoms = structures.anything(seed)
    i, j, shifts = neighbor_list("ijS", atoms, CUTOFF)
    expected = sorted(map(tuple, np.column_stack([i, j, shifts]).tolist()))
    found = torch.column_stack(listed(graph_from_atoms(atoms)))
    assert [tuple(row) for row in found.long().tolist()] == expected
    assert_as_vesin(atoms)


@pytest.mark.parametrize("pbc", [False, (True, False, True), True])
@pytest.mark.parametrize("cutoff", [2.5, 6.0, 25.0])
def test_many_atoms(cutoff: float, pbc: object):
    atoms = bulk("NaCl", "rocksalt", a=5.6) * (5, 4, 3)
    atoms.rattle(0.2, seed=0)
    atoms.pbc = pbc
    atoms.positions += np.random.default_rng(0).integers(-3, 3, size=(120, 1)) * atoms.cell[0]
    assert assert_as_vesin(atoms, cutoff) > 50 or not np.all(pbc)


def test_a_few_centers_at_a_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_CENTERS", 7)
    assert assert_as_vesin(structures.mixture(n_atoms=20), 5.0) > 300


def test_atoms_at_the_border_of_the_cell():
    atoms = bulk("Cu", cubic=True, a=3.6) * 2
    atoms.positions -= 1e-17  # which rounding wraps to the end of the cell, not to its beginning
    assert assert_as_vesin(atoms, 3.0) == 12 * 32


def test_atoms_far_apart():
    atoms = Atoms("H4", [[0, 0, 0], [1, 0, 0], [1e8, -3e7, 0], [1e8, -3e7, 2]])
    assert [part.tolist() for part in listed(graph_from_atoms(atoms))[:2]] == [
        [0, 1, 2, 3],
        [1, 0, 3, 2],
    ]


@pytest.mark.parametrize("atoms", [Atoms("H"), Atoms("H", cell=[9, 9, 9], pbc=True)])
def test_one_atom_alone(atoms: Atoms):
    assert assert_as_vesin(atoms) == 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("seed", range(24))
def test_the_list_of_a_structure_on_a_gpu_is_built_there(seed: int):
    graph = graph_from_atoms(structures.anything(seed), CUTOFF)
    found = with_neighbors(graph.without_labels().to("cuda"), CUTOFF)
    for name in ("centers", "neighbors", "shifts"):
        assert getattr(found, name).is_cuda
        assert torch.equal(getattr(found, name).cpu(), getattr(graph, name))
