"""`Facts`: what a set of frames tells about a model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hermnet.data.environments import Environments
from hermnet.data.least_squares import N_NUMBERS, EnergyEquations
from hermnet.graph import LABELS, AtomicGraph

Array = NDArray[Any]
_ARRAYS = ("n_atoms", "n_edges", "atoms", "force_squares", "force_components")


@dataclass(frozen=True)
class Facts:
    """Facts about a set of frames; what belongs to elements is by atomic number.

    Attributes:
        n_atoms: (n_frames,) int32, atoms of each frame.
        n_edges: (n_frames,) int32, edges of each frame.
        n_alone: number of atoms without neighbors.
        atoms: (119,) int64, atoms of each element.
        labels: frames that have each of energy, forces and stress, or mask it.
        known: frames in which each of them is a number.
        energies: equations of the total energies, for the energies of elements.
        force_squares: (119,) sum of the squared force components on each element in (eV/A)^2.
        force_components: (119,) int64, number of these components.
        environments: numbers of edges by what surrounds their center.
    """

    n_atoms: Array
    n_edges: Array
    n_alone: int
    atoms: Array
    labels: Mapping[str, int]
    known: Mapping[str, int]
    energies: EnergyEquations
    force_squares: Array
    force_components: Array
    environments: Environments

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return len(self.n_atoms)

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that occur, ascending."""
        return tuple(np.flatnonzero(self.atoms).tolist())

    @classmethod
    def of(cls, graphs: Sequence[AtomicGraph]) -> Facts:
        """The facts of some graphs of one structure each, with neighbor lists; at least one."""
        n_atoms = np.array([graph.n_atoms for graph in graphs], dtype=np.int32)
        n_edges = np.array([graph.n_edges for graph in graphs], dtype=np.int32)
        numbers = _end_to_end([graph.atomic_numbers for graph in graphs])
        frame = np.repeat(np.arange(len(graphs)), n_atoms)  # of each atom
        first = np.repeat(np.cumsum(n_atoms, dtype=np.int64) - n_atoms, n_edges)
        centers = first + _end_to_end([graph.centers for graph in graphs])
        shape = (len(graphs), N_NUMBERS)
        counts = np.bincount(frame * N_NUMBERS + numbers, minlength=shape[0] * shape[1])
        energies = [np.nan if graph.energy is None else float(graph.energy) for graph in graphs]
        squares, components = _forces(graphs)
        return cls(
            n_atoms=n_atoms,
            n_edges=n_edges,
            n_alone=int((np.bincount(centers, minlength=len(numbers)) == 0).sum()),
            atoms=np.bincount(numbers, minlength=N_NUMBERS),
            labels=_count(graphs, lambda values: True),
            known=_count(graphs, lambda values: bool(torch.isfinite(values).any())),
            energies=EnergyEquations.of(counts.reshape(shape), np.array(energies)),
            force_squares=squares,
            force_components=components,
            environments=Environments.of(
                numbers, centers, first + _end_to_end([graph.neighbors for graph in graphs])
            ),
        )

    @classmethod
    def joined(cls, parts: Sequence[Facts]) -> Facts:
        """The facts of several sets laid end to end; sums are taken in this order."""
        squares = np.zeros(N_NUMBERS)
        for part in parts:
            squares = squares + part.force_squares
        return cls(
            n_atoms=np.concatenate([part.n_atoms for part in parts]),
            n_edges=np.concatenate([part.n_edges for part in parts]),
            n_alone=sum(part.n_alone for part in parts),
            atoms=np.sum([part.atoms for part in parts], axis=0),
            labels={name: sum(part.labels[name] for part in parts) for name in LABELS},
            known={name: sum(part.known[name] for part in parts) for name in LABELS},
            energies=EnergyEquations.joined([part.energies for part in parts]),
            force_squares=squares,
            force_components=np.sum([part.force_components for part in parts], axis=0),
            environments=Environments.joined(part.environments for part in parts),
        )

    def arrays(self) -> dict[str, Array]:
        """Everything as arrays without objects, to be stored."""
        names = ("sizes", "numbers", "counts")
        rest = {
            "labels": self.labels,
            "known": self.known,
            "n_energies": self.energies.n_frames,
            "n_alone": self.n_alone,
        }
        return {
            **{name: getattr(self, name) for name in _ARRAYS},
            **dict(zip(names, self.environments.arrays(), strict=True)),
            "totals": self.energies.totals,
            "per_atom": self.energies.per_atom,
            "rest": np.array(json.dumps(rest)),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Facts:
        """The inverse of `arrays`.

        Raises:
            KeyError: if an array is missing.
            ValueError: if they do not fit together.
        """
        rest = json.loads(str(arrays["rest"]))
        facts = cls(
            **{name: arrays[name] for name in _ARRAYS},
            n_alone=int(rest["n_alone"]),
            labels={name: int(rest["labels"][name]) for name in LABELS},
            known={name: int(rest["known"][name]) for name in LABELS},
            energies=EnergyEquations(arrays["totals"], arrays["per_atom"], rest["n_energies"]),
            environments=Environments.from_arrays(
                arrays["sizes"], arrays["numbers"], arrays["counts"]
            ),
        )
        n_edges, n_atoms = int(arrays["n_edges"].sum()), int(arrays["n_atoms"].sum())
        if arrays["counts"].sum() != n_edges or arrays["atoms"].sum() != n_atoms:
            raise ValueError("the numbers of atoms or edges do not fit together")
        return facts


def _end_to_end(parts: Sequence[Tensor]) -> Array:
    return np.concatenate([part.cpu().numpy() for part in parts])


def _count(graphs: Sequence[AtomicGraph], has: Callable[[Tensor], bool]) -> dict[str, int]:
    """How many graphs have each label, of those for which `has` says so."""
    found = dict.fromkeys(LABELS, 0)
    for graph in graphs:
        for name in LABELS:
            values = getattr(graph, name)
            found[name] += values is not None and has(values)
    return found


def _forces(graphs: Sequence[AtomicGraph]) -> tuple[Array, Array]:
    """Sum of squares and number of the force components on each element, (119,) each."""
    labelled = [graph for graph in graphs if graph.forces is not None]
    if not labelled:
        return np.zeros(N_NUMBERS), np.zeros(N_NUMBERS, dtype=np.int64)
    numbers = _end_to_end([graph.atomic_numbers for graph in labelled])
    forces = _end_to_end([graph.forces for graph in labelled if graph.forces is not None])
    known = np.isfinite(forces)
    squares = np.where(known, forces, 0.0) ** 2
    return (
        np.bincount(numbers, weights=squares.sum(axis=1), minlength=N_NUMBERS),
        np.bincount(numbers, weights=known.sum(axis=1), minlength=N_NUMBERS).astype(np.int64),
    )
