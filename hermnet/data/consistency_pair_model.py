"""`PairModel`: pair potentials fitted to forces alone, whose energy and stress can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np

from hermnet.data.consistency import Array
from hermnet.data.inspection_frames import Frame

_CUTOFF = 6.0  # A
_SPACING = 0.3  # A between the centers of Gaussians, and their width
_SHORTEST = 0.6  # A, where the first Gaussian sits
_RIDGE = 1e-6  # of the mean square of the columns
_MAX_COLUMNS = 900


@dataclass(frozen=True)
class _Basis:
    """Energy functions of the distance, Gaussians that end smoothly at the cutoff."""

    centers: Array  # (n_radial,) A

    def values(self, lengths: Array) -> tuple[Array, Array]:
        """Functions and derivatives at (n,) lengths, both (n, n_radial)."""
        offset = (lengths[:, None] - self.centers) / _SPACING
        gauss = np.exp(-(offset**2) / 2)
        ratio = (lengths / _CUTOFF)[:, None]
        end, end_slope = (1 - ratio**2) ** 2, -4 * ratio * (1 - ratio**2) / _CUTOFF
        return gauss * end, gauss * (end_slope - end * offset / _SPACING)


@dataclass(frozen=True)
class Prediction:
    """What the model says of frames.

    Attributes:
        energies: (n_frames,) eV, without a constant for each composition.
        stress: (n_frames, 3, 3) eV/A^3, NaN where there is no volume.
        explained: share of the forces' squares that the model explains, 1 for all.
        explained_by_frame: (n_frames,) the same for each frame.
    """

    energies: Array
    stress: Array
    explained: float
    explained_by_frame: Array


def n_columns(frames: Sequence[Frame]) -> int:
    """Number of coefficients that a model of these frames has."""
    n_elements = len(np.unique(np.concatenate([frame.atomic_numbers for frame in frames])))
    return n_elements * (n_elements + 1) // 2 * len(_centers())


def can_fit(frames: Sequence[Frame]) -> str | None:
    """Why no model can be fitted to the forces of these frames, or None."""
    columns, rows = n_columns(frames), 3 * sum(frame.n_atoms for frame in frames)
    if columns > _MAX_COLUMNS:
        return f"too many pairs of elements for a pair model ({columns} coefficients)"
    if rows < 3 * columns:
        return f"too few forces for a pair model ({rows} for {columns} coefficients)"
    return None


def fit_and_predict(frames: Sequence[Frame]) -> Prediction:
    """Fit pair potentials to the forces of frames, by ridge least squares, and evaluate there.

    With an energy sum over pairs phi(r) the force on the center of an edge is phi'(r) times the
    unit vector to its neighbor and the stress, positive under tension, is the sum over pairs of
    phi'(r) r times the unit vector twice, over the volume.

    Args:
        frames: structures with forces, none of them all zero.
    """
    basis = _Basis(_centers())
    places = _places(frames)
    parts = [_rows(frame, basis, places) for frame in frames]
    labels = [np.asarray(frame.forces).ravel() for frame in frames]
    normal = sum(rows.T @ rows for rows, _, _ in parts)
    right = sum(rows.T @ label for (rows, _, _), label in zip(parts, labels, strict=True))
    ridge = _RIDGE * np.trace(normal) / np.shape(normal)[0] * np.eye(np.shape(normal)[0])
    weights = np.linalg.solve(normal + ridge, right)
    left = np.array(
        [((y - rows @ weights) ** 2).sum() for (rows, _, _), y in zip(parts, labels, strict=True)]
    )
    total = np.array([(label**2).sum() for label in labels])
    volumes = np.array([frame.volume or np.nan for frame in frames])
    return Prediction(
        energies=np.array([energy @ weights for _, energy, _ in parts]),
        stress=np.stack([virial @ weights for _, _, virial in parts]) / volumes[:, None, None],
        explained=float(1 - left.sum() / total.sum()),
        explained_by_frame=1 - left / total,
    )


def _centers() -> Array:
    return np.arange(_SHORTEST, _CUTOFF, _SPACING)


def _places(frames: Sequence[Frame]) -> Array:
    """Number of each ordered pair of elements, (119, 119), the same both ways round."""
    elements = np.unique(np.concatenate([frame.atomic_numbers for frame in frames])).tolist()
    places = np.zeros((119, 119), dtype=np.int64)
    for place, (a, b) in enumerate(combinations_with_replacement(elements, 2)):
        places[a, b] = places[b, a] = place
    return places


def _rows(frame: Frame, basis: _Basis, places: Array) -> tuple[Array, Array, Array]:
    """What each coefficient adds: forces (3 n_atoms, k), energy (k,), stress x V (3, 3, k)."""
    centers, neighbors, vectors = frame.edges(_CUTOFF)
    n_places, n_radial = int(places.max()) + 1, len(basis.centers)
    lengths = np.sqrt((vectors**2).sum(axis=1))
    directions = vectors / lengths[:, None]
    place = places[frame.atomic_numbers[centers], frame.atomic_numbers[neighbors]]
    key = centers * n_places + place
    order = np.argsort(key, kind="stable")
    energy, slope = basis.values(lengths[order])
    forces = np.zeros((frame.n_atoms * n_places, 3, n_radial))
    energies = np.zeros((n_places, n_radial))
    virial = np.zeros((n_places, 3, 3, n_radial))
    pushes = directions[order][:, :, None] * slope[:, None, :]  # (n_edges, 3, n_radial)
    keys, starts = np.unique(key[order], return_index=True)
    if len(keys):
        forces[keys] = np.add.reduceat(pushes, starts)
    for p in range(n_places):
        mine = place[order] == p
        energies[p] = energy[mine].sum(axis=0) / 2
        pulled = pushes[mine].reshape(-1, 3 * n_radial)
        virial[p] = (vectors[order][mine].T @ pulled).reshape(3, 3, n_radial) / 2
    rows = forces.reshape(frame.n_atoms, n_places, 3, n_radial).transpose(0, 2, 1, 3)
    return (
        rows.reshape(3 * frame.n_atoms, -1),
        energies.ravel(),
        virial.transpose(1, 2, 0, 3).reshape(3, 3, -1),
    )
