"""Energies of many frames as a sum over their atoms, fitted without keeping the frames.

Equations come in blocks; together they are kept as the triangular factor R of their QR
decomposition, which has the same least-squares solution. Unlike the normal equations it loses no
digits, however large total energies are: the error is that of a fit to all equations at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
N_NUMBERS = 119  # atomic numbers 0 to 118
_DEPENDENT = 1e-10  # singular values below this part of the largest are zero but for rounding
_NEGLIGIBLE = 1e-8  # of a unit vector: zero but for rounding


@dataclass(frozen=True)
class ElementFit:
    """Energies of elements from energies of frames.

    Attributes:
        energies: (n_elements,) eV.
        rank: how many combinations of them the compositions determine.
        doubtful: positions of those that are not determined one by one.
    """

    energies: Array
    rank: int
    doubtful: tuple[int, ...]


@dataclass(frozen=True)
class EnergyEquations:
    """One equation for each frame, or fewer with the same squares.

    Attributes:
        totals: (n_rows, 120) atoms of each atomic number, energy in eV.
        per_atom: (n_rows, 121) one, fractions of each atomic number, energy per atom in eV.
        n_frames: number of frames with an energy.
    """

    totals: Array
    per_atom: Array
    n_frames: int

    @classmethod
    def of(cls, counts: Array, energies: Array) -> EnergyEquations:
        """The equations of some frames; those whose energy is NaN are left out.

        Args:
            counts: (n_frames, 119) atoms of each atomic number.
            energies: (n_frames,) eV.
        """
        known = np.isfinite(energies)
        totals = np.column_stack([counts, energies])[known].astype(np.float64)
        n_atoms = counts[known].sum(axis=1, keepdims=True)
        per_atom = np.column_stack([np.ones(len(totals)), totals / n_atoms])
        return cls(totals, per_atom, len(totals))

    @classmethod
    def joined(cls, parts: Sequence[EnergyEquations]) -> EnergyEquations:
        """The equations of several together, reduced; the order of the parts is that of sums."""
        return cls(
            totals=_triangle(np.concatenate([part.totals for part in parts])),
            per_atom=_triangle(np.concatenate([part.per_atom for part in parts])),
            n_frames=sum(part.n_frames for part in parts),
        )

    def fit(self, elements: Sequence[int]) -> ElementFit:
        """Energies of elements whose sums over atoms differ least from those of the frames.

        Where compositions do not tell elements apart, these share the mean: of all solutions it is
        the one nearest to giving every atom the same energy.

        Args:
            elements: atomic numbers; frames with an energy may have no others.
        """
        counts, energies = self.totals[:, list(elements)], self.totals[:, -1]
        n_atoms = counts.sum(axis=1)
        square = float(n_atoms @ n_atoms)
        mean = float(n_atoms @ energies) / square if square else 0.0  # the best single energy
        # The rows of R stand for all frames, so numpy's own limit of the rank would be too strict.
        change, _, rank, _ = np.linalg.lstsq(counts, energies - mean * n_atoms, rcond=_DEPENDENT)
        null_space = np.linalg.svd(counts)[2][rank:]  # (n_elements - rank, n_elements)
        doubtful = np.flatnonzero((np.abs(null_space) > _NEGLIGIBLE).any(axis=0))
        return ElementFit(mean + change, int(rank), tuple(doubtful.tolist()))

    def spread(self, elements: Sequence[int], energies: Array) -> float:
        """Standard deviation in eV of the energy per atom that a sum over atoms leaves.

        Args:
            elements: atomic numbers.
            energies: (n_elements,) eV.
        """
        rows = _triangle(self.per_atom)
        rest = rows[:, -1] - rows[:, 1 + np.asarray(elements)] @ energies
        # The first column is constant, so the mean is in the first row and nowhere else.
        return float(np.linalg.norm(rest[1:]) / np.sqrt(self.n_frames))


def _triangle(rows: Array) -> Array:
    """The triangular factor; columns of zeros stay so."""
    used = np.flatnonzero(rows.any(axis=0))
    factor = np.linalg.qr(rows[:, used], mode="r")
    reduced = np.zeros((len(factor), rows.shape[1]))
    reduced[:, used] = factor
    return reduced
