"""`AtomicGraph`: one structure, or many collated into one, with its neighbor list and labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from multiprocessing.reduction import ForkingPickler
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

LABELS = ("energy", "forces", "stress")
_PROPERTIES = ("scalars", "dipole")
_LARGEST_IN_PIPE = 4_000_000  # bytes; beyond that copying them takes longer than sharing


@dataclass(frozen=True)
class AtomicGraph:
    """Structures as one graph; a pytree of tensors that nobody writes into.

    Messages flow neighbor -> center, and an edge's vector is
    ``positions[neighbor] - positions[center] + shift @ cell``. Edges are sorted by center.
    """

    positions: Tensor  # (n_atoms, 3) float64, A
    atomic_numbers: Tensor  # (n_atoms,) int64
    cell: Tensor  # (n_systems, 3, 3) float64, A; rows are lattice vectors, zero where there is none
    pbc: Tensor  # (n_systems, 3) bool
    batch: Tensor  # (n_atoms,) int64, the system of each atom
    centers: Tensor  # (n_edges,) int64, the receiving atom
    neighbors: Tensor  # (n_edges,) int64, the sending atom
    shifts: Tensor  # (n_edges, 3) float64, whole numbers of lattice vectors
    energy: Tensor | None = None  # (n_systems,) float64, eV
    forces: Tensor | None = None  # (n_atoms, 3) float64, eV/A
    stress: Tensor | None = None  # (n_systems, 3, 3) float64, eV/A^3, positive under tension
    scalars: Tensor | None = None  # (n_systems, n_scalars) float64; the data say names and units
    dipole: Tensor | None = None  # (n_systems, 3) float64, e A

    @property
    def n_systems(self) -> int:
        """Number of structures."""
        return self.cell.shape[0]

    @property
    def n_atoms(self) -> int:
        """Number of atoms of all structures together."""
        return self.positions.shape[0]

    @property
    def n_edges(self) -> int:
        """Number of directed edges of all structures together."""
        return self.centers.shape[0]

    def atoms_per_system(self) -> Tensor:
        """Number of atoms of each structure, (n_systems,) int64."""
        counts = torch.zeros(self.n_systems, dtype=torch.int64, device=self.batch.device)
        return counts.index_add(0, self.batch, torch.ones_like(self.batch))

    def _map(self, change: Callable[[Tensor], Tensor]) -> AtomicGraph:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{k: change(v) for k, v in values.items() if v is not None})

    def to(self, device: torch.device | str, non_blocking: bool = False) -> AtomicGraph:
        """The same graph on another device; dtypes stay."""
        return self._map(lambda t: t.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> AtomicGraph:
        """The same graph in page-locked memory, for asynchronous copies."""
        return self._map(lambda t: t.pin_memory())

    def nothing(self) -> AtomicGraph:
        """A graph without any structure that has the same labels."""
        return self._map(lambda t: t[:0])

    def without_labels(self) -> AtomicGraph:
        """The same graph without energy, forces and all other labels."""
        return replace(self, energy=None, forces=None, stress=None, scalars=None, dipole=None)


torch.export.register_dataclass(AtomicGraph)


def _of_tensors(tensors: dict[str, Tensor | None]) -> AtomicGraph:
    return AtomicGraph(**tensors)  # type: ignore[arg-type]  # tensors by field


def _of_arrays(arrays: dict[str, NDArray[Any] | None]) -> AtomicGraph:
    return _of_tensors({k: None if v is None else torch.from_numpy(v) for k, v in arrays.items()})


def _to_another_process(graph: AtomicGraph) -> tuple[Callable[..., AtomicGraph], tuple[Any]]:
    """How a graph goes from one process to another: a small one through the pipe.

    Torch sends each tensor as a shared file of its own, which takes longer than a small batch.
    """
    tensors = {k: v for k, v in vars(graph).items() if v is not None}
    size = sum(tensor.nbytes for tensor in tensors.values())
    plain = all(t.device.type == "cpu" and not t.requires_grad for t in tensors.values())
    if size > _LARGEST_IN_PIPE or not plain:
        return _of_tensors, (vars(graph),)
    return _of_arrays, ({k: None if v is None else v.numpy() for k, v in vars(graph).items()},)


ForkingPickler.register(AtomicGraph, _to_another_process)


def collate(graphs: Sequence[AtomicGraph]) -> AtomicGraph:
    """Join graphs into one; a label is kept only where every graph has it.

    Args:
        graphs: at least one graph, each of any number of systems.

    Raises:
        ValueError: if there are no graphs.
    """
    if not graphs:
        raise ValueError("collate needs at least one graph")
    n_atoms = torch.tensor([graph.n_atoms for graph in graphs])
    n_edges = torch.tensor([graph.n_edges for graph in graphs])
    n_systems = torch.tensor([graph.n_systems for graph in graphs])
    offsets = {
        "centers": (n_atoms, n_edges),
        "neighbors": (n_atoms, n_edges),
        "batch": (n_systems, n_atoms),
    }
    joined: dict[str, Tensor | None] = {}
    for field in fields(AtomicGraph):
        parts = [getattr(graph, field.name) for graph in graphs]
        if field.name in (*LABELS, *_PROPERTIES) and any(part is None for part in parts):
            joined[field.name] = None
            continue
        values = torch.cat(parts)
        if field.name in offsets:
            counted, repeats = offsets[field.name]
            shift = (counted.cumsum(0) - counted).repeat_interleave(repeats)
            values += shift.to(values.device)
        joined[field.name] = values
    return AtomicGraph(**joined)  # type: ignore[arg-type]  # tensors by field
