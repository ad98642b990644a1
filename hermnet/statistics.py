"""What training frames tell about a model: elements, neighbors, reference energies, scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hermnet.data.facts import Facts
from hermnet.data.gathering import gather
from hermnet.elements import number, symbol
from hermnet.errors import InputError, nearest
from hermnet.graph import AtomicGraph

Array = NDArray[Any]
_NEGLIGIBLE = 1e-8  # eV: zero but for rounding


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
        forces_rms: root mean square of the force components on each element that has any, eV/A.
        notes: what a user should know about the numbers above, one sentence each.
    """

    elements: tuple[int, ...]
    mean_neighbors: float
    reference: dict[int, float]
    scale: float
    n_frames: int
    n_atoms: int
    forces_rms: dict[int, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def from_facts(cls, facts: Facts, reference: str | Mapping[Any, float] = "fit") -> Statistics:
        """Draw the conclusions.

        The reference energies minimize the squared error of a sum over atoms; where compositions
        do not tell elements apart, these share the mean energy per atom. The scale is the root mean
        square of the force components, else the standard deviation of the energy per atom that the
        reference leaves, else 1.

        Args:
            facts: of the training frames.
            reference: ``fit``, or the energy in eV of an isolated atom by symbol or atomic number.

        Raises:
            InputError: for another word than ``fit``, or if the given energies lack an element.
        """
        notes: list[str] = []
        elements = facts.elements
        shifts = _fit(facts, notes) if reference == "fit" else _given(reference, elements)
        n_atoms = int(facts.n_atoms.sum(dtype=np.int64))
        has_forces = np.flatnonzero(facts.force_components).tolist()
        return cls(
            elements=elements,
            mean_neighbors=int(facts.n_edges.sum(dtype=np.int64)) / n_atoms,
            reference=dict(zip(elements, shifts.tolist(), strict=True)),
            scale=_scale(facts, shifts, notes),
            n_frames=facts.n_frames,
            n_atoms=n_atoms,
            forces_rms={
                z: float(np.sqrt(facts.force_squares[z] / facts.force_components[z]))
                for z in has_forces
            },
            notes=notes,
        )

    @classmethod
    def from_graphs(
        cls, graphs: Sequence[AtomicGraph], reference: str | Mapping[Any, float] = "fit"
    ) -> Statistics:
        """The same of frames with neighbor lists, each one structure.

        Raises:
            InputError: if there are no frames, and as `from_facts`.
        """
        if not graphs:
            raise InputError("no frames to take elements and reference energies from")
        return cls.from_facts(gather(graphs), reference)


def _fit(facts: Facts, notes: list[str]) -> Array:
    """Least-squares energies per element, (n_elements,) eV; frames without energy do not count."""
    elements = facts.elements
    if facts.energies.n_frames == 0:
        notes.append("no frame has an energy: the reference energies are zero")
        return np.zeros(len(elements))
    fit = facts.energies.fit(elements)
    if fit.doubtful:
        notes.append(
            f"the compositions do not determine the reference energies of "
            f"{', '.join(symbol(elements[k]) for k in fit.doubtful)} one by one (rank {fit.rank} "
            f"of {len(elements)}): they share the mean energy per atom, and energies of other "
            "compositions are not comparable"
        )
    return fit.energies


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


def _scale(facts: Facts, shifts: Array, notes: list[str]) -> float:
    """The scale, from forces or from what the reference (n_elements,) leaves of the energies."""
    n_components = int(facts.force_components.sum())
    if n_components:
        scale = float(np.sqrt(facts.force_squares.sum() / n_components))
    elif facts.energies.n_frames:
        scale = facts.energies.spread(facts.elements, shifts)
    else:
        notes.append("no frame has forces or an energy: the scale is 1")
        return 1.0
    # Energies that the reference explains leave rounding errors, which are no scale.
    if scale <= (0.0 if n_components else _NEGLIGIBLE):
        notes.append("forces or energies do not vary: the scale is 1")
        return 1.0
    return scale
