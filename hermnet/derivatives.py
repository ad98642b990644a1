"""Forces and stress from the gradient of the energy with respect to edge vectors.

The energy depends on the structure only through edge vectors ``d_e = r_j - r_i + shift @ cell``.
With ``g_e = dE / dd_e``:

    F_i        = sum_{e: center i} g_e - sum_{e: neighbor i} g_e        = -dE / dr_i
    stress_ab  = (1/V) sum_e d_e,a g_e,b                                = (1/V) dE / dstrain_ab

so one backward pass gives both, periodic or not. Thompson, Plimpton and Mattson, J. Chem. Phys.
131, 154107 (2009) derive the same virial for cluster potentials.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hermnet.graph import AtomicGraph
from hermnet.segments import segment_sum


def edge_vectors(graph: AtomicGraph) -> Tensor:
    """Vectors from center to neighbor, (n_edges, 3) float64 in A."""
    system = graph.batch.index_select(0, graph.centers)
    images = torch.bmm(graph.shifts.unsqueeze(1), graph.cell.index_select(0, system)).squeeze(1)
    return (
        graph.positions.index_select(0, graph.neighbors)
        - graph.positions.index_select(0, graph.centers)
        + images
    )


def forces_from_edges(gradient: Tensor, graph: AtomicGraph) -> Tensor:
    """Forces (n_atoms, 3) in eV/A from ``dE/dd`` (n_edges, 3) in eV/A."""
    gained = segment_sum(gradient, graph.centers, graph.n_atoms)
    return gained - segment_sum(gradient, graph.neighbors, graph.n_atoms)


def stress_from_edges(gradient: Tensor, vectors: Tensor, graph: AtomicGraph) -> Tensor:
    """Stress (n_systems, 3, 3) in eV/A^3, positive under tension; NaN where the cell has no volume.

    Args:
        gradient: (n_edges, 3) ``dE/dd`` in eV/A.
        vectors: (n_edges, 3) edge vectors in A.
        graph: the structures.
    """
    system = graph.batch.index_select(0, graph.centers)
    virial = segment_sum(_edge_virials(gradient, vectors), system, graph.n_systems)
    return _per_volume(virial, torch.linalg.det(graph.cell).abs())


def atomic_stresses_from_edges(gradient: Tensor, vectors: Tensor, graph: AtomicGraph) -> Tensor:
    """Each atom's share of the stress, (n_atoms, 3, 3) eV/A^3; they sum up to the stress.

    An edge's part of the virial belongs to its two atoms in equal shares, as in LAMMPS' pair
    styles. Arguments are those of `stress_from_edges`; NaN where the cell has no volume.
    """
    virials = 0.5 * _edge_virials(gradient, vectors)
    shares = segment_sum(virials, graph.centers, graph.n_atoms)
    shares = shares + segment_sum(virials, graph.neighbors, graph.n_atoms)
    volumes = torch.linalg.det(graph.cell).abs().index_select(0, graph.batch)
    return _per_volume(shares, volumes)


def _edge_virials(gradient: Tensor, vectors: Tensor) -> Tensor:
    return vectors.unsqueeze(2) * gradient.unsqueeze(1)  # (n_edges, 3, 3)


def _per_volume(virials: Tensor, volumes: Tensor) -> Tensor:
    """The symmetric part of virials (n, 3, 3) per volume (n,), NaN where that is zero."""
    symmetric = 0.5 * (virials + virials.transpose(1, 2))
    volumes = volumes.view(-1, 1, 1)
    solid = volumes > 0
    # the inner `where` keeps NaN out of the gradient of systems that have a volume
    return torch.where(solid, symmetric / torch.where(solid, volumes, 1.0), torch.nan)
