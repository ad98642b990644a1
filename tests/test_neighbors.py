from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list
from scipy.spatial.transform import Rotation

import structures
from hermnet.errors import InputError
from hermnet.graph import AtomicGraph, collate
from hermnet.neighbors import graph_from_atoms, with_neighbors

CUTOFF = 3.1


def edges(graph: AtomicGraph) -> list[tuple[int, ...]]:
    table = torch.cat([graph.centers[:, None], graph.neighbors[:, None], graph.shifts.long()], 1)
    return [tuple(row) for row in table.tolist()]


def ase_edges(atoms: Atoms, cutoff: float) -> set[tuple[int, ...]]:
    i, j, shifts = neighbor_list("ijS", atoms, cutoff)
    return set(map(tuple, np.column_stack([i, j, shifts]).tolist()))


@pytest.mark.parametrize("seed", range(72))
def test_edges_are_those_of_ase_in_any_frame_of_reference(seed: int) -> None:
    atoms = structures.anything(seed)
    expected = ase_edges(atoms, CUTOFF)
    found = edges(graph_from_atoms(atoms, CUTOFF))
    assert found == sorted(expected)

    rng = np.random.default_rng(1000 + seed)
    turn = Rotation.random(rng=rng).as_matrix()
    moved = atoms.copy()
    moved.set_cell(atoms.cell.array @ turn.T)
    moved.positions = atoms.positions @ turn.T + 9.0 * rng.normal(size=3)
    assert edges(graph_from_atoms(moved, CUTOFF)) == found


def test_the_random_structures_cover_what_they_should() -> None:
    found = [structures.anything(seed) for seed in range(72)]
    assert {tuple(s.pbc.tolist()) for s in found} == set(map(tuple, structures.PBC))
    assert any(np.linalg.det(s.cell.array) < 0 for s in found)
    assert any(s.pbc.any() and s.cell.rank < 3 for s in found)
    assert any(len(s) == 1 and s.pbc.all() for s in found)
    assert any(s.pbc.all() and s.cell.lengths().max() < CUTOFF for s in found)


def test_vectors_follow_the_convention_and_the_cutoff() -> None:
    atoms = structures.anything(7)
    graph = graph_from_atoms(atoms, CUTOFF)
    ends = graph.positions[graph.neighbors] + graph.shifts @ graph.cell[0]
    vectors = ends - graph.positions[graph.centers]
    i, _, lengths = neighbor_list("ijd", atoms, CUTOFF)
    torch.testing.assert_close(vectors.norm(dim=1).sort()[0], torch.tensor(np.sort(lengths)))
    assert len(i) > 50
    assert vectors.norm(dim=1).max() < CUTOFF


@pytest.mark.parametrize("pbc", [False, (True, False, False), (True, False, True)])
@pytest.mark.parametrize("far", [1e3, 1e5, 1e7, 1e9])
def test_an_atom_that_is_lost_far_away(far: float, pbc: object) -> None:
    atoms = Atoms("H4", [[0, 0, 0], [1, 0, 0], [1, 1, 1], [1, far, 1]], cell=[9, 9, 9], pbc=pbc)
    near = atoms[:3]
    assert edges(graph_from_atoms(atoms, CUTOFF)) == edges(graph_from_atoms(near, CUTOFF))


def test_a_thin_slab_in_a_skewed_cell() -> None:
    cell = [[36.0, 3.0, -40.0], [-1200.0, 3800.0, 1400.0], [3400.0, 8900.0, -430.0]]
    positions = [[-4.0, 2924.1, -15.3], [-4.4, 2925.7, -14.7], [2.8, -1731.7, -2.4]]
    atoms = Atoms("H3", positions, cell=cell, pbc=[False, True, True])
    assert edges(graph_from_atoms(atoms, CUTOFF)) == [(0, 1, 0, 0, 0), (1, 0, 0, 0, 0)]


def test_a_thin_sheet_with_very_many_cells() -> None:
    side = 2500.0
    atoms = Atoms("H2", [[0, 0, 0], [side - 1, side - 1, 0]], cell=[side, side, 2.0], pbc=True)
    assert edges(graph_from_atoms(atoms, CUTOFF)) == sorted(ase_edges(atoms[[0]] + atoms[[1]], 3.1))


def test_self_images_of_one_copper_atom() -> None:
    graph = graph_from_atoms(bulk("Cu", "fcc", a=3.6), 3.0)
    assert graph.n_edges == 12
    assert (graph.shifts.abs().sum(dim=1) > 0).all()


def test_moving_an_atom_by_lattice_vectors_changes_only_its_shifts() -> None:
    atoms = bulk("NaCl", "rocksalt", a=5.6)
    graph = graph_from_atoms(atoms, 4.5)
    jump = torch.tensor([2.0, -1.0, 3.0], dtype=torch.float64)
    moved = atoms.copy()
    moved.positions[1] += jump.numpy() @ atoms.cell.array
    shifts = graph.shifts + torch.outer((graph.centers == 1).double(), jump)
    shifts = shifts - torch.outer((graph.neighbors == 1).double(), jump)
    table = torch.cat([graph.centers[:, None], graph.neighbors[:, None], shifts.long()], 1)
    assert edges(graph_from_atoms(moved, 4.5)) == sorted(map(tuple, table.tolist()))


def test_without_cutoff_there_are_no_edges_and_all_else_is_kept() -> None:
    atoms = structures.anything(7)
    graph = graph_from_atoms(atoms)
    assert (graph.n_edges, graph.n_systems, graph.n_atoms) == (0, 1, len(atoms))
    assert graph.positions.dtype == graph.cell.dtype == graph.shifts.dtype == torch.float64
    np.testing.assert_array_equal(graph.positions, atoms.positions)
    np.testing.assert_array_equal(graph.atomic_numbers, atoms.numbers)
    np.testing.assert_array_equal(graph.cell[0], atoms.cell.array)
    np.testing.assert_array_equal(graph.pbc[0], atoms.pbc)
    assert graph.energy is None
    assert graph.forces is None
    assert graph.stress is None


def test_the_graph_owns_its_memory() -> None:
    atoms = bulk("Cu")
    graph = graph_from_atoms(atoms, 3.0)
    atoms.positions += 1.0
    atoms.cell[:] = 0.0
    assert graph.positions.abs().max() == 0
    assert graph.cell.abs().max() > 1


def test_edges_that_were_there_are_replaced() -> None:
    wide = graph_from_atoms(bulk("Cu"), 6.0)
    assert edges(with_neighbors(wide, 3.0)) == edges(graph_from_atoms(bulk("Cu"), 3.0))


def test_two_atoms_at_one_place_are_a_pair() -> None:
    assert edges(graph_from_atoms(Atoms("H2", np.zeros((2, 3))), 1.0)) == [
        (0, 1, 0, 0, 0),
        (1, 0, 0, 0, 0),
    ]


def test_an_isolated_atom_has_no_edges() -> None:
    assert graph_from_atoms(Atoms("H"), 5.0).n_edges == 0


@pytest.mark.parametrize(
    ("atoms", "cutoff", "message"),
    [
        (Atoms(), 3.0, "a structure without atoms"),
        (Atoms("HX", np.eye(3)[:2]), 3.0, "no element number 0"),
        (Atoms("H", [[np.nan, 0, 0]]), 3.0, "position of atom 0 is not a finite number"),
        (Atoms("H", cell=[np.inf, 1, 1]), 3.0, "cell has an entry that is not a finite number"),
        (Atoms("H", pbc=True), 3.0, "zero or dependent"),
        (Atoms("H", cell=[[1, 0, 0], [2, 0, 0], [0, 0, 1]], pbc=True), 3.0, "zero or dependent"),
        (Atoms("H"), 0.0, "cutoff must be a positive length in A, not 0"),
        (Atoms("H"), float("nan"), "cutoff must be a positive length in A, not nan"),
    ],
)
def test_bad_input(atoms: Atoms, cutoff: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        graph_from_atoms(atoms, cutoff)


def test_only_one_structure_at_a_time() -> None:
    two = collate([graph_from_atoms(bulk("Cu")), graph_from_atoms(bulk("Cu"))])
    with pytest.raises(ValueError, match="one structure, not 2"):
        with_neighbors(two, 3.0)
