"""`Frame`: one structure with its labels as arrays, the form in which data are inspected."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from ase.geometry import complete_cell
from numpy.typing import NDArray
from torch import Tensor

from hermnet.graph import AtomicGraph
from hermnet.neighbors import with_neighbors

Array = NDArray[Any]
_CELL_DIGITS = 3  # cells that agree to so many decimals of an A are one cell


@dataclass(frozen=True)
class Frame:
    """One structure; a label that is missing or not finite is None.

    Attributes:
        split: name of its split.
        index: its place in the split, from 0.
        graph: the structure as the data module gives it.
    """

    split: str
    index: int
    graph: AtomicGraph

    @property
    def name(self) -> str:
        """How messages call it, such as ``train frame 12``."""
        return f"{self.split} frame {self.index}"

    @cached_property
    def atomic_numbers(self) -> Array:
        """(n_atoms,) int64."""
        return self.graph.atomic_numbers.cpu().numpy()

    @cached_property
    def positions(self) -> Array:
        """(n_atoms, 3) in A."""
        return _numbers(self.graph.positions)

    @cached_property
    def cell(self) -> Array:
        """(3, 3) in A, rows are lattice vectors."""
        return _numbers(self.graph.cell[0])

    @cached_property
    def pbc(self) -> Array:
        """(3,) bool."""
        return self.graph.pbc[0].cpu().numpy()

    @cached_property
    def energy(self) -> float | None:
        """In eV."""
        values = _label(self.graph.energy)
        return None if values is None else float(values[0])

    @cached_property
    def forces(self) -> Array | None:
        """(n_atoms, 3) in eV/A."""
        return _label(self.graph.forces)

    @cached_property
    def stress(self) -> Array | None:
        """(3, 3) in eV/A^3, positive under tension."""
        values = _label(self.graph.stress)
        return None if values is None else values[0]

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.atomic_numbers)

    @cached_property
    def volume(self) -> float:
        """Of the cell in A^3; 0 for a structure without one."""
        return abs(float(np.linalg.det(self.cell)))

    @cached_property
    def scaled_positions(self) -> Array:
        """(n_atoms, 3) in lattice vectors; missing vectors are completed by unit vectors."""
        return self.positions @ np.linalg.inv(complete_cell(self.cell))

    @property
    def order_key(self) -> Hashable:
        """Equal for frames with the same elements in the same order and the same periodicity."""
        return self.atomic_numbers.tobytes(), self.pbc.tobytes()

    @property
    def cell_key(self) -> Hashable:
        """Equal for frames which in addition share their cell, as far as it repeats."""
        cell = np.round(np.where(self.pbc[:, None], self.cell, 0.0), _CELL_DIGITS) + 0.0
        return self.order_key, cell.tobytes()

    def edges(self, cutoff: float) -> tuple[Array, Array, Array]:
        """Centers (n_edges,), neighbors (n_edges,) and vectors (n_edges, 3) up to `cutoff` A.

        Raises:
            InputError: as `hermnet.neighbors.with_neighbors`.
        """
        centers, neighbors, vectors, lengths = _vectors(self.graph)
        if len(lengths) == 0 or lengths.max() < cutoff:  # the list may end before the cutoff
            centers, neighbors, vectors, lengths = _vectors(with_neighbors(self.graph, cutoff))
        near = lengths < cutoff
        return centers[near], neighbors[near], vectors[near]


def _vectors(graph: AtomicGraph) -> tuple[Array, Array, Array, Array]:
    centers, neighbors = graph.centers.cpu().numpy(), graph.neighbors.cpu().numpy()
    positions = _numbers(graph.positions)
    vectors = positions[neighbors] - positions[centers]
    vectors += _numbers(graph.shifts) @ _numbers(graph.cell[0])
    return centers, neighbors, vectors, np.sqrt((vectors**2).sum(axis=1))


def _numbers(values: Tensor) -> Array:
    return values.detach().cpu().double().numpy()


def _label(values: Tensor | None) -> Array | None:
    if values is None:
        return None
    numbers = _numbers(values)
    return numbers if np.isfinite(numbers).all() else None


def grouped(frames: Sequence[Frame], key: Callable[[Frame], Hashable]) -> list[list[Frame]]:
    """Frames by key, in the order of the first of each; groups of one frame are left out."""
    groups: dict[Hashable, list[Frame]] = {}
    for frame in frames:
        groups.setdefault(key(frame), []).append(frame)
    return [group for group in groups.values() if len(group) > 1]


def sample(frames: Sequence[Frame], n_frames: int) -> list[Frame]:
    """At most `n_frames` of the frames, drawn with a fixed seed and left in order."""
    if len(frames) <= n_frames:
        return list(frames)
    chosen = np.random.default_rng(0).choice(len(frames), n_frames, replace=False)
    return [frames[k] for k in sorted(chosen)]
