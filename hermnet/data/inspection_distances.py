"""What lies how close: shortest distances, fingerprints and histograms of distances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hermnet.data.consistency import Array
from hermnet.data.inspection_frames import Frame
from hermnet.errors import InputError

REACH = 4.0  # A up to which distances count
_FARTHEST = 40.0  # A, the last try for the shortest distance of atoms far apart
_BINS = np.linspace(0.0, REACH, 161)
_CENTERS = np.array([0.9, 1.5, 2.1, 2.7, 3.3])  # A, of the fingerprint's Gaussians
_WIDTH = 0.4


@dataclass(frozen=True)
class Distances:
    """Distances within one frame.

    Attributes:
        shortest: A, periodic images included; infinite for a single atom.
        atoms: the two atoms, an atom and its own image included.
        fingerprint: (k,) sums over pairs of smooth functions of distance and elements, which
            turning, shifting and renumbering leave as they are.
        counts: (n_bins,) pairs by distance.
    """

    shortest: float
    atoms: tuple[int, int]
    fingerprint: Array
    counts: Array


def bin_centers() -> Array:
    """(n_bins,) A, the middle of each bin of `Distances.counts`."""
    middle: Array = (_BINS[1:] + _BINS[:-1]) / 2
    return middle


def measure(frame: Frame) -> Distances:
    """Distances of one frame.

    Raises:
        InputError: as `hermnet.neighbors.with_neighbors`.
    """
    centers, neighbors, vectors = frame.edges(REACH)
    lengths = np.sqrt((vectors**2).sum(axis=1))
    counts, _ = np.histogram(lengths, _BINS)
    fingerprint = _fingerprint(frame.atomic_numbers, centers, neighbors, lengths)
    reach = REACH
    while len(lengths) == 0 and reach < _FARTHEST:
        reach *= 2
        centers, neighbors, vectors = frame.edges(reach)
        lengths = np.sqrt((vectors**2).sum(axis=1))
    if len(lengths) == 0:
        return Distances(np.inf, (0, 0), fingerprint, counts)
    edge = int(lengths.argmin())
    pair = int(centers[edge]), int(neighbors[edge])
    return Distances(float(lengths[edge]), pair, fingerprint, counts)


def _fingerprint(numbers: Array, centers: Array, neighbors: Array, lengths: Array) -> Array:
    mark = np.sin(numbers.astype(np.float64))  # of elements, without a pattern
    one, other = mark[centers], mark[neighbors]
    weights = np.stack([np.ones_like(one), one + other, one * other])  # (3, n_edges)
    smooth = np.exp(-(((lengths[:, None] - _CENTERS) / _WIDTH) ** 2) / 2)
    smooth *= ((1 - (lengths / REACH) ** 2) ** 2)[:, None]
    fingerprint: Array = (weights @ smooth).ravel()
    return fingerprint


def measure_all(frames: Sequence[Frame]) -> tuple[list[Distances | None], list[str]]:
    """Distances of every frame, None where it is broken, and what is wrong with those."""
    found: list[Distances | None] = []
    broken: list[str] = []
    for frame in frames:
        try:
            found.append(measure(frame))
        except InputError as error:
            found.append(None)
            broken.append(f"{frame.name}: {error}")
    return found, broken
