"""Neighbor lists by tensor operations alone, on any device; on the CPU vesin is faster.

Atoms are sorted into cubes of half the cutoff, as in any linked-cell method (Quentrec and Brot,
J. Comput. Phys. 13, 430, 1973), together with those of their periodic images that are within reach
of the cell. What lies in a row of cubes then stands in a row in memory.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_FINENESS = 2  # cubes along the cutoff
_MOST_CUBES = 2**20  # along an axis, so that their numbers fit into 63 bits
_CENTERS = 8192  # whose candidates are held at once
_SLACK = 1e-6  # A, or of a lattice vector, for what rounding puts at a border


def cell_list(
    positions: Tensor, cell: Tensor, pbc: Tensor, cutoff: float
) -> tuple[Tensor, Tensor, Tensor]:
    """All pairs within the cutoff, as `hermnet.neighbors.with_neighbors` gives them.

    Args:
        positions: (n_atoms, 3) float64, A; at least one atom.
        cell: (3, 3) float64, A, rows are lattice vectors; any where nothing repeats, independent
            where something does.
        pbc: (3,) bool.
        cutoff: in A.

    Returns:
        Centers (n_edges,), neighbors (n_edges,) and shifts (n_edges, 3) float64, sorted by center,
        then neighbor, then shift.
    """
    periodic = cell.cpu()[pbc.cpu()]  # a few numbers, about which Python decides
    images = _Images.of(positions, periodic, cutoff)
    cubes, order = torch.sort(_cubes(images.positions, cutoff + _SLACK))
    images = images.sorted(order)
    own = torch.nonzero(images.kind == images.own_kind).flatten()
    parts = [_near(images.positions, cubes, some, cutoff + _SLACK) for some in own.split(_CENTERS)]
    center, other = (torch.cat(ends) for ends in zip(*parts, strict=True))
    i, j = images.atoms[center], images.atoms[other]
    # Of one pair, images come in the order of their shifts.
    order = torch.sort((i * len(positions) + j) * images.n_kinds + images.kind[other]).indices
    i, j = i[order], j[order]
    shifts = positions.new_zeros(len(order), 3)
    shifts[:, pbc] = images.shifts[other[order]] - images.wraps[j] + images.wraps[i]
    # As the model will have it: wrapping has rounded, and a length may be that of the cutoff.
    vectors = positions[j] - positions[i] + shifts @ cell
    near = vectors.square().sum(dim=1) < cutoff**2
    return i[near], j[near], shifts[near]


class _Images(NamedTuple):
    """Atoms, wrapped into the cell, and those of their periodic images that are near the cell."""

    positions: Tensor  # (n_images, 3)
    atoms: Tensor  # (n_images,) which atom it is an image of
    shifts: Tensor  # (n_images, n_periodic) lattice vectors from the wrapped atom
    kind: Tensor  # (n_images,) a number for each shift, ascending like the shifts
    wraps: Tensor  # (n_atoms, n_periodic) lattice vectors from the wrapped atom to the atom
    own_kind: int  # of the atoms themselves
    n_kinds: int

    @classmethod
    def of(cls, positions: Tensor, periodic: Tensor, cutoff: float) -> _Images:
        """All images within the cutoff of the cell.

        Args:
            positions: (n_atoms, 3).
            periodic: (n_periodic, 3) the lattice vectors, on the CPU.
            cutoff: in A.
        """
        inverse = torch.linalg.pinv(periodic)  # (3, n_periodic), columns across the other vectors
        reach = (cutoff * inverse.norm(dim=0)).tolist()  # of the cutoff, in lattice vectors
        periodic = periodic.to(positions.device)
        places = positions @ inverse.to(positions.device)  # in lattice vectors
        wraps = torch.floor(places)
        places = places - wraps
        atoms = torch.arange(len(positions), device=positions.device)
        shifts = positions.new_zeros(len(positions), 0)
        kind = torch.zeros_like(atoms)
        own_kind, n_kinds = 0, 1
        for axis, far in enumerate(reach):
            most = int(1 + far + _SLACK)
            steps = torch.arange(-most, most + 1, device=positions.device)
            moved = places[atoms, axis, None] + steps
            image, step = torch.nonzero(
                (moved >= -far - _SLACK) & (moved <= 1 + far + _SLACK), as_tuple=True
            )
            atoms = atoms[image]
            shifts = torch.cat((shifts[image], steps[step, None].to(shifts)), dim=1)
            kind = kind[image] * len(steps) + step
            own_kind, n_kinds = own_kind * len(steps) + most, n_kinds * len(steps)
        wrapped = positions - wraps @ periodic
        found = wrapped[atoms] + shifts @ periodic
        return cls(found, atoms, shifts, kind, wraps, own_kind, n_kinds)

    def sorted(self, order: Tensor) -> _Images:
        """The images in another order."""
        return self._replace(
            positions=self.positions[order],
            atoms=self.atoms[order],
            shifts=self.shifts[order],
            kind=self.kind[order],
        )


def _cubes(positions: Tensor, cutoff: float) -> Tensor:
    """The number of each image's cube, (n_images,) int64; cubes along z are numbered in a row."""
    lowest = positions.min(dim=0).values
    extent = float((positions.max(dim=0).values - lowest).max())
    side = max(cutoff / _FINENESS, 1.01 * extent / _MOST_CUBES)
    # Before the first cube there is room for a search, and behind the last.
    return _number(torch.floor((positions - lowest) / side).long() + _FINENESS)


def _number(cubes: Tensor) -> Tensor:
    """Numbers of cubes that are given by their places along x, y and z, (n, 3)."""
    width = _MOST_CUBES + 4 * _FINENESS
    x, y, z = cubes.unbind(dim=1)
    return (x * width + y) * width + z


def _near(positions: Tensor, cubes: Tensor, some: Tensor, cutoff: float) -> tuple[Tensor, Tensor]:
    """Pairs of images within the cutoff of each other.

    Args:
        positions: (n_images, 3).
        cubes: (n_images,) ascending.
        some: (n_centers,) the images that are centers.
        cutoff: in A.

    Returns:
        Centers and neighbors (n_pairs,), as indices of images.
    """
    steps = torch.arange(-_FINENESS, _FINENESS + 1, device=some.device)
    rows = _number(torch.cartesian_prod(steps, steps, steps[:1]))  # (n_rows,) where each begins
    first = (cubes[some, None] + rows).flatten()  # (n_centers * n_rows,)
    start = torch.searchsorted(cubes, first)
    counts = torch.searchsorted(cubes, first + 2 * _FINENESS, right=True) - start
    total = int(counts.sum())
    images = torch.arange(total, device=some.device)
    images += (start - counts.cumsum(0) + counts).repeat_interleave(counts, output_size=total)
    of_center = counts.view(len(some), -1).sum(dim=1)
    centers = some.repeat_interleave(of_center, output_size=total)
    vectors = positions[images] - positions[centers]
    near = (vectors.square().sum(dim=1) < cutoff**2) & (images != centers)
    return centers[near], images[near]
