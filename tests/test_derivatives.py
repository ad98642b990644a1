"""Forces and stress from edge gradients, for a pair potential that ASE knows too."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones

import structures
from hermnet.derivatives import edge_vectors, forces_from_edges, stress_from_edges
from hermnet.graph import AtomicGraph, collate
from hermnet.neighbors import graph_from_atoms

EPSILON, SIGMA, CUTOFF, ONSET = 0.3, 2.2, 6.0, 4.0


def lennard_jones(lengths: torch.Tensor) -> torch.Tensor:
    """The pair energy of ASE's `LennardJones(smooth=True)`, half of it for each direction."""
    c6 = (SIGMA / lengths) ** 6
    r2, on, off = lengths**2, ONSET**2, CUTOFF**2
    fade = (off - r2) ** 2 * (off + 2 * r2 - 3 * on) / (off - on) ** 3
    fade = torch.where(lengths < ONSET, torch.ones_like(r2), fade)
    return 0.5 * 4 * EPSILON * (c6**2 - c6) * fade


def derivatives(graph: AtomicGraph) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    vectors = edge_vectors(graph).requires_grad_()
    energies = lennard_jones(vectors.norm(dim=1))
    (gradient,) = torch.autograd.grad(energies.sum(), vectors)
    system = graph.batch[graph.centers]
    energy = torch.zeros(graph.n_systems, dtype=torch.float64).index_add(
        0, system, energies.detach()
    )
    forces = forces_from_edges(gradient, graph)
    return energy, forces, stress_from_edges(gradient, vectors.detach(), graph)


def frames() -> list[Atoms]:
    argon = bulk("Ar", "fcc", a=3.7) * (2, 1, 1)
    argon.rattle(stdev=0.1, seed=1)
    left_handed = structures.crystal()
    left_handed.set_cell(-1.3 * left_handed.cell.array, scale_atoms=True)
    big = structures.crystal()
    big.set_cell(1.6 * big.cell.array, scale_atoms=True)
    return [argon, left_handed, big, structures.molecule(), structures.mixture()]


@pytest.mark.parametrize("number", range(5))
def test_lennard_jones_equals_ase(number: int):
    atoms = frames()[number]
    energy, forces, stress = derivatives(graph_from_atoms(atoms, CUTOFF))
    atoms.calc = LennardJones(epsilon=EPSILON, sigma=SIGMA, rc=CUTOFF, ro=ONSET, smooth=True)
    scale = np.abs(atoms.get_forces()).max()
    assert scale > 0.01
    assert float(energy) == pytest.approx(atoms.get_potential_energy(), rel=1e-11)
    np.testing.assert_allclose(forces, atoms.get_forces(), rtol=0, atol=1e-11 * scale)
    if abs(np.linalg.det(atoms.cell.array)) > 0:
        expected = atoms.get_stress(voigt=False)
        np.testing.assert_allclose(stress[0], expected, rtol=0, atol=1e-11 * np.abs(expected).max())
    else:
        assert stress.isnan().all()


def test_stress_is_positive_under_tension():
    stretched = bulk("Ar", "fcc", a=1.15 * 2 ** (2 / 3) * SIGMA)
    _, forces, stress = derivatives(graph_from_atoms(stretched, CUTOFF))
    assert forces.abs().max() < 1e-12
    assert (stress[0].diagonal() > 0).all()


def test_a_batch_keeps_systems_apart_and_nan_to_itself():
    graphs = [graph_from_atoms(atoms, CUTOFF) for atoms in frames()]
    together = derivatives(collate(graphs))
    singles = [torch.cat(parts) for parts in zip(*map(derivatives, graphs), strict=True)]
    for one, other in zip(together, singles, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12, equal_nan=True)
    assert together[2].isnan().flatten(1).any(dim=1).tolist() == [False, False, False, True, True]


def test_nan_stress_leaves_gradients_of_the_others_finite():
    graph = collate([graph_from_atoms(atoms, CUTOFF) for atoms in frames()[2:4]])
    gradient = torch.randn(graph.n_edges, 3, dtype=torch.float64, requires_grad=True)
    stress = stress_from_edges(gradient, edge_vectors(graph), graph)
    (slope,) = torch.autograd.grad(stress[0].sum(), gradient)
    assert slope.isfinite().all()
    assert (slope != 0).any()


def test_vectors_point_from_center_to_neighbor_across_the_boundary():
    atoms = Atoms("HO", positions=[(0.5, 0, 0), (9.0, 0, 0)], cell=[10.0, 8.0, 8.0], pbc=True)
    graph = graph_from_atoms(atoms, 2.0)
    assert (graph.centers.tolist(), graph.neighbors.tolist()) == ([0, 1], [1, 0])
    torch.testing.assert_close(
        edge_vectors(graph), torch.tensor([[-1.5, 0, 0], [1.5, 0, 0]]).double()
    )
