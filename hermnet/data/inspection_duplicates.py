"""Structures that occur twice, within a split or in two of them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from hermnet.data.consistency import Array
from hermnet.data.inspection_distances import Distances
from hermnet.data.inspection_frames import Frame

_ALIKE = 1e-5  # relative difference of fingerprints of one structure written twice
_WINDOW = 12  # frames of nearly the same fingerprint that are compared with each other
_SAME_PLACE = 1e-3  # A
_SAME_ENERGY = 1e-4  # eV per atom


@dataclass(frozen=True)
class Duplicate:
    """Two frames that hold one structure.

    Attributes:
        first: the earlier frame.
        second: the later frame.
        in_place: whether atoms and cell are the same one by one; otherwise the structure is turned,
            shifted or numbered in another way, with the same energy.
        same_energy: whether the energies agree, or one is missing.
    """

    first: Frame
    second: Frame
    in_place: bool
    same_energy: bool


def find_duplicates(
    frames: Sequence[Frame], distances: Sequence[Distances | None]
) -> list[Duplicate]:
    """Compare all frames of equal composition by their fingerprints.

    Args:
        frames: of all splits.
        distances: their distances; frames without, or without any pair of atoms, are left out.
    """
    groups: dict[Hashable, list[int]] = {}
    for k, (frame, distance) in enumerate(zip(frames, distances, strict=True)):
        if distance is not None and distance.counts.any():
            composition = np.sort(frame.atomic_numbers).tobytes(), frame.pbc.tobytes()
            groups.setdefault(composition, []).append(k)
    found: list[Duplicate] = []
    for group in groups.values():
        prints = np.stack([d.fingerprint for k in group if (d := distances[k]) is not None])
        for i, j in _alike(prints):
            duplicate = _compare(frames[group[i]], frames[group[j]])
            if duplicate is not None:
                found.append(duplicate)
    return found


def _alike(prints: Array) -> list[tuple[int, int]]:
    """Rows (n, k) that agree: near neighbors in the order of the first column."""
    order = np.argsort(prints[:, 0], kind="stable")
    tolerance = _ALIKE * np.abs(prints).max()
    pairs: list[tuple[int, int]] = []
    for step in range(1, min(_WINDOW, len(order) - 1) + 1):
        one, other = order[:-step], order[step:]
        same = np.abs(prints[one] - prints[other]).max(axis=1) < tolerance
        pairs += [(min(a, b), max(a, b)) for a, b in zip(one[same], other[same], strict=True)]
    return sorted((int(a), int(b)) for a, b in pairs)


def _compare(first: Frame, second: Frame) -> Duplicate | None:
    same_energy = True
    if first.energy is not None and second.energy is not None:
        same_energy = abs(first.energy - second.energy) < _SAME_ENERGY * first.n_atoms
    if _in_place(first, second):
        return Duplicate(first, second, True, same_energy)
    if same_energy and (first.pbc.any() or _same_lengths(first, second)):
        return Duplicate(first, second, False, True)
    return None


def _in_place(first: Frame, second: Frame) -> bool:
    if first.order_key != second.order_key:
        return False
    repeated = first.pbc[:, None]
    if np.abs((first.cell - second.cell) * repeated).max() > _SAME_PLACE:
        return False
    moved = second.positions - first.positions
    if first.pbc.any():
        steps = np.round(second.scaled_positions - first.scaled_positions) * first.pbc
        moved = moved - steps @ first.cell
    return bool(np.abs(moved - moved.mean(axis=0)).max() < _SAME_PLACE)


def _same_lengths(first: Frame, second: Frame) -> bool:
    """Whether two molecules have the same distances, beyond the reach of the fingerprint too."""
    one, other = (
        np.sort(np.linalg.norm(f.positions[:, None] - f.positions, axis=2).ravel())
        for f in (first, second)
    )
    return bool(np.abs(one - other).max() < _SAME_PLACE)
