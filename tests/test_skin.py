"""A list with a skin has every edge that a new search finds, and searches seldom."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

import structures
from hermnet.errors import InputError
from hermnet.neighbors import graph_from_atoms
from hermnet.potential import ModelOptions, Potential
from hermnet.skin import SkinNeighbors

CUTOFF = 3.0


def edges(graph, cutoff: float = CUTOFF) -> set[tuple]:
    """Edges no longer than the cutoff as (center, neighbor, shift)."""
    ends = graph.positions[graph.neighbors] + graph.shifts @ graph.cell[0]
    near = (ends - graph.positions[graph.centers]).norm(dim=1) <= cutoff
    rows = torch.cat((graph.centers[:, None], graph.neighbors[:, None], graph.shifts.long()), dim=1)
    return {tuple(row) for row in rows[near].tolist()}


def walk(atoms: Atoms, n_steps: int, stretch: float = 0.0, seed: int = 0):
    """Random displacements and strains that go on and on."""
    rng = np.random.default_rng(seed)
    velocities = rng.normal(size=atoms.positions.shape)
    strain = rng.normal(size=(3, 3))
    for _ in range(n_steps):
        atoms = atoms.copy()
        atoms.positions += 0.03 * velocities
        if stretch:
            atoms.set_cell(
                atoms.cell.array @ (np.eye(3) + stretch * (strain + strain.T)), scale_atoms=True
            )
        yield atoms


@pytest.mark.parametrize(
    ("atoms", "stretch"),
    [
        (structures.molecule(), 0.0),
        (structures.crystal(), 0.0),
        (structures.crystal(), 0.003),
        (structures.crystal(), -0.003),
        (structures.mixture(n_atoms=20), 0.0),
    ],
    ids=["molecule", "crystal", "stretched", "squeezed", "slab"],
)
def test_no_edge_is_missing(atoms: Atoms, stretch: float):
    neighbors = SkinNeighbors(CUTOFF, skin=0.8)
    for moved in walk(atoms, 30, stretch):
        found = edges(neighbors(graph_from_atoms(moved)))
        assert found == edges(graph_from_atoms(moved, CUTOFF))
    assert 1 < neighbors.n_searches < 25


def test_a_resting_structure_is_searched_once():
    neighbors = SkinNeighbors(CUTOFF)
    for _ in range(3):
        neighbors(graph_from_atoms(structures.crystal()))
    assert neighbors.n_searches == 1


def test_another_structure_is_searched_anew():
    neighbors = SkinNeighbors(CUTOFF, skin=1.0)
    copper = bulk("Cu", cubic=True)
    slab = copper.copy()
    slab.pbc = (True, True, False)
    thick = slab.copy()
    thick.cell[2, 2] += 1e-3
    for atoms in (copper, slab, thick, bulk("Ag", cubic=True), copper * 2, copper):
        graph = neighbors(graph_from_atoms(atoms))
        assert edges(graph) == edges(graph_from_atoms(atoms, CUTOFF))
    assert neighbors.n_searches == 6


def test_an_atom_that_is_wrapped_back_is_searched_anew():
    neighbors = SkinNeighbors(CUTOFF)
    atoms = structures.crystal()
    neighbors(graph_from_atoms(atoms))
    atoms.positions[0] += atoms.cell[1]
    graph = neighbors(graph_from_atoms(atoms))
    assert edges(graph) == edges(graph_from_atoms(atoms, CUTOFF))


def test_edges_in_the_skin_change_nothing():
    options = ModelOptions(n_channels=4, n_layers=2, cutoff=CUTOFF, dtype="float64")
    potential = Potential(options, (8, 22, 56), 10.0)
    atoms = structures.crystal()
    wide = SkinNeighbors(CUTOFF, skin=1.0)(graph_from_atoms(atoms))
    exact = graph_from_atoms(atoms, CUTOFF)
    assert wide.n_edges > exact.n_edges
    one, other = potential(wide, stress=True), potential(exact, stress=True)
    torch.testing.assert_close(one.energy, other.energy, rtol=1e-12, atol=0.0)
    torch.testing.assert_close(one.forces, other.forces, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param(
            "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
        ),
    ],
)
def test_the_device_of_the_search(device: str):
    neighbors = SkinNeighbors(CUTOFF, skin=0.8, device=device)
    for moved in walk(structures.crystal(), 10, 0.003):
        found = neighbors(graph_from_atoms(moved))
        assert found.positions.device.type == found.centers.device.type == device
        assert edges(found) == edges(graph_from_atoms(moved, CUTOFF))
    assert 1 < neighbors.n_searches < 10


def test_a_skin_is_a_length():
    with pytest.raises(InputError, match="the skin must be a length in A, not -1"):
        SkinNeighbors(CUTOFF, skin=-1)
