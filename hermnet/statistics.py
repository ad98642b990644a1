"""What training frames tell about a model: elements, neighbors, reference energies, scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hermnet.elements import number, symbol
from hermnet.errors import InputError, nearest
from hermnet.graph import AtomicGraph

Array = NDArray[Any]
_NEGLIGIBLE = 1e-8  # eV, or of a unit vector: zero but for rounding


@dataclass
class Statistics:
    """Facts about a set of frames.

    Attributes:
        elements: atomic numbers that occur, ascending.
        mean_neighbors: neighbors per atom, averaged over all atoms; 0 if nothing has a neighbor.
        reference: energy of one atom of each element in eV, what the model's energy is relative to.
        scale: size of the numbers that the model has to make, from the forces (eV/A) if there are
            any, else from the energies per atom (eV).
        n_frames: number of structures.
        n_atoms: number of atoms of all structures together.
        notes: what a user should know about the numbers above, one sentence each.
    """

    elements: tuple[int, ...]
    mean_neighbors: float
    reference: dict[int, float]
    scale: float
    n_frames: int
    n_atoms: int
    notes: list[str] = field(default_factory=list)

    @classmethod
    def from_graphs(
        cls, graphs: Sequence[AtomicGraph], reference: str | Mapping[Any, float] = "fit"
    ) -> Statistics:
        """Gather the facts.

        The reference energies minimize the squared error of a sum over atoms; where compositions
        do not tell elements apart, they are the solution of the smallest norm. The scale is the
        root mean square of the force components, else the standard deviation of the energy per
        atom that the reference leaves, else 1.

        Args:
            graphs: frames with neighbor lists, each one structure.
            reference: ``fit``, or the energy in eV of an isolated atom by symbol or atomic number.

        Raises:
            InputError: if there are no frames, for another word than ``fit``, or if the given
                energies lack an element.
        """
        if not graphs:
            raise InputError("no frames to take elements and reference energies from")
        elements, counts = _compositions(graphs)
        n_atoms = int(counts.sum())
        notes: list[str] = []
        energies = np.array([np.nan if g.energy is None else float(g.energy) for g in graphs])
        if reference == "fit":
            shifts = _fit(counts, energies, elements, notes)
        else:
            shifts = _given(reference, elements)
        return cls(
            elements=elements,
            mean_neighbors=sum(graph.n_edges for graph in graphs) / n_atoms,
            reference=dict(zip(elements, shifts.tolist(), strict=True)),
            scale=_scale(graphs, (energies - counts @ shifts) / counts.sum(axis=1), notes),
            n_frames=len(graphs),
            n_atoms=n_atoms,
            notes=notes,
        )


def _compositions(graphs: Sequence[AtomicGraph]) -> tuple[tuple[int, ...], Array]:
    """Elements, ascending, and how many atoms of each a frame has, (n_frames, n_elements)."""
    per_frame = [np.bincount(graph.atomic_numbers.cpu().numpy()) for graph in graphs]
    counts = np.zeros((len(graphs), max(map(len, per_frame))))  # (n_frames, largest number + 1)
    for row, count in zip(counts, per_frame, strict=True):
        row[: len(count)] = count
    elements = np.flatnonzero(counts.any(axis=0))
    return tuple(elements.tolist()), counts[:, elements]


def _fit(counts: Array, energies: Array, elements: tuple[int, ...], notes: list[str]) -> Array:
    """Least-squares energies per element, (n_elements,) eV; frames without energy do not count."""
    known = np.isfinite(energies)
    if not known.any():
        notes.append("no frame has an energy: the reference energies are zero")
        return np.zeros(len(elements))
    shifts, _, rank, _ = np.linalg.lstsq(counts[known], energies[known], rcond=None)
    if rank < len(elements):
        null_space = np.linalg.svd(counts[known])[2][rank:]  # (n_elements - rank, n_elements)
        free = np.flatnonzero(np.abs(null_space).max(axis=0) > _NEGLIGIBLE)
        notes.append(
            f"the compositions do not determine the reference energies of "
            f"{', '.join(symbol(elements[k]) for k in free)} one by one (rank {rank} of "
            f"{len(elements)}): the solution of the smallest norm is used, and energies of other "
            "compositions are not comparable"
        )
    return np.asarray(shifts)


def _given(reference: str | Mapping[Any, float], elements: tuple[int, ...]) -> Array:
    if isinstance(reference, str):
        raise InputError(
            f"unknown reference '{reference}'; {nearest(reference, ['fit'])}, or a mapping from "
            "element to energy in eV"
        )
    by_number = {z if isinstance(z, int) else number(z): float(e) for z, e in reference.items()}
    missing = [symbol(z) for z in elements if z not in by_number]
    if missing:
        raise InputError(
            f"no reference energy is given for {', '.join(missing)}; given: "
            f"{', '.join(symbol(z) for z in sorted(by_number)) or 'none'}"
        )
    return np.array([by_number[z] for z in elements])


def _scale(graphs: Sequence[AtomicGraph], residuals: Array, notes: list[str]) -> float:
    """The scale, from forces or from the residual energies per atom (n_frames,) in eV."""
    forces = [graph.forces.cpu().numpy() for graph in graphs if graph.forces is not None]
    known = residuals[np.isfinite(residuals)]
    if any(np.isfinite(values).any() for values in forces):  # a frame may lack its forces
        scale = float(np.sqrt(np.nanmean(np.concatenate(forces) ** 2)))
    elif len(known):
        scale = float(known.std())
    else:
        notes.append("no frame has forces or an energy: the scale is 1")
        return 1.0
    # Energies that the reference explains leave rounding errors, which are no scale.
    if scale <= (0.0 if forces else _NEGLIGIBLE):
        notes.append("forces or energies do not vary: the scale is 1")
        return 1.0
    return scale
