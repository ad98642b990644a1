"""What surrounds atoms, as counts: from them follow the edges of each relation of any scheme."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]
Key = tuple[int, ...]  # the center's atomic number, then those of its neighbors, each once


class Stars(NamedTuple):
    """A graph with one center for each kind of environment and one neighbor for each element.

    A scheme gives an edge of it the same relations as the edges that it stands for.
    """

    atomic_numbers: Tensor  # (n_atoms,) int64
    centers: Tensor  # (n_edges,) int64
    neighbors: Tensor  # (n_edges,) int64
    counts: Tensor  # (n_edges,) int64, for how many edges each stands


@dataclass(frozen=True)
class Environments:
    """Numbers of edges by the center's element and the set of elements around the center.

    Attributes:
        edges: by center and elements around it, ascending: the edges from each of these, int64.
    """

    edges: Mapping[Key, Array]

    @classmethod
    def of(cls, atomic_numbers: Array, centers: Array, neighbors: Array) -> Environments:
        """Count the edges of a graph.

        Args:
            atomic_numbers: (n_atoms,).
            centers: (n_edges,) the receiving atoms.
            neighbors: (n_edges,) the sending atoms.
        """
        elements, types = np.unique(atomic_numbers, return_inverse=True)
        n_atoms, n_types = len(atomic_numbers), len(elements)
        flat = np.bincount(centers * n_types + types[neighbors], minlength=n_atoms * n_types)
        counts = flat.reshape(n_atoms, n_types)  # of each atom's neighbors
        around = np.packbits(counts > 0, axis=1)
        kinds, kind = np.unique(
            np.column_stack([types.astype(np.uint8), around]), axis=0, return_inverse=True
        )
        order = np.argsort(kind.ravel(), kind="stable")
        starts = np.searchsorted(kind.ravel()[order], np.arange(len(kinds)))
        edges = {}
        for atom, total in zip(order[starts], np.add.reduceat(counts[order], starts), strict=True):
            there = np.flatnonzero(total)
            if len(there):
                edges[int(elements[types[atom]]), *elements[there].tolist()] = total[there]
        return cls(edges)

    @classmethod
    def joined(cls, parts: Iterable[Environments]) -> Environments:
        """The counts of several together."""
        edges: dict[Key, Array] = {}
        for part in parts:
            for key, counts in part.edges.items():
                edges[key] = edges[key] + counts if key in edges else counts
        return cls(edges)

    def pairs(self) -> dict[tuple[int, int], int]:
        """Number of edges by the elements of center and neighbor."""
        found: dict[tuple[int, int], int] = {}
        for (center, *around), counts in sorted(self.edges.items()):
            for neighbor, count in zip(around, counts.tolist(), strict=True):
                found[center, neighbor] = found.get((center, neighbor), 0) + count
        return found

    def stars(self) -> Stars:
        """The environments as a graph, see `Stars`."""
        sizes, numbers, counts = self.arrays()
        first = np.cumsum(sizes) - sizes
        is_center = np.zeros(len(numbers), dtype=bool)
        is_center[first] = True
        return Stars(
            atomic_numbers=torch.from_numpy(numbers),
            centers=torch.from_numpy(np.repeat(first, sizes - 1)),
            neighbors=torch.from_numpy(np.flatnonzero(~is_center)),
            counts=torch.from_numpy(counts),
        )

    def arrays(self) -> tuple[Array, Array, Array]:
        """The lengths of the keys, the keys and the counts, each laid end to end, int64."""
        keys = sorted(self.edges)
        flat = [self.edges[key] for key in keys]
        return (
            np.array([len(key) for key in keys], dtype=np.int64),
            np.array([number for key in keys for number in key], dtype=np.int64),
            np.concatenate(flat).astype(np.int64) if flat else np.zeros(0, dtype=np.int64),
        )

    @classmethod
    def from_arrays(cls, sizes: Array, numbers: Array, counts: Array) -> Environments:
        """The inverse of `arrays`."""
        keys = np.split(numbers, np.cumsum(sizes)[:-1]) if len(sizes) else []
        values = np.split(counts, np.cumsum(sizes - 1)[:-1]) if len(sizes) else []
        return cls({tuple(k.tolist()): value for k, value in zip(keys, values, strict=True)})
