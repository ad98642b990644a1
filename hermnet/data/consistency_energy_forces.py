"""Do energies and forces agree? Between close frames dE = -(F1 + F2)/2 . dx, up to third order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hermnet.data.consistency import (
    PAIRS_OF_FRAMES,
    Array,
    Causes,
    Check,
    Fit,
    Verdict,
    energy_factors,
    forces_factors,
)
from hermnet.data.inspection_frames import Frame, grouped, sample

NAME = "energy against forces"
_MAX_FRAMES = 1500  # of one group whose distances from each other are all compared
_MAX_CANDIDATES = 2000  # pairs of all groups that are aligned
_MAX_PAIRS = 200  # the closest of these are used
_MIN_PAIRS = 8
_FAR = (0.25, 0.45)  # A root mean square displacement of pairs that count; the second if need be
_SAME = 1e-5  # A; nearer frames are the same frame
_MAX_FEATURE_ATOMS = 60


@dataclass(frozen=True)
class _Pairs:
    """Close pairs of frames."""

    work: Array  # (n_pairs,) eV, -(F1 + F2)/2 . dx
    change: Array  # (n_pairs,) eV, energy of the second frame minus that of the first
    distance: Array  # (n_pairs,) A, root mean square displacement of an atom


def check_energy_forces(split: str, frames: Sequence[Frame]) -> Check:
    """Regress energy differences of close frames on the work of the mean force.

    Frames are compared with frames of the same atoms in the same order: molecules after the best
    rotation or rotoreflection (Kabsch, Acta Cryst. A 32, 922 (1976)), periodic structures with the
    same cell by minimum image. The trapezoid rule errs by the third power of the displacement, so
    that the closest pairs count most.

    Args:
        split: name of the split.
        frames: its frames.
    """
    known = [f for f in frames if f.energy is not None and f.forces is not None]
    if not known:
        return _nothing(split, "no frame has energy and forces")
    groups = grouped(known, lambda frame: frame.cell_key)
    if not groups:
        return _nothing(split, "no two frames share atoms, their order and the cell")
    budget = max(10, _MAX_CANDIDATES // len(groups))
    found = [_pairs(group, budget) for group in groups[: _MAX_CANDIDATES // 10]]
    work, change, distance = (
        np.concatenate([getattr(pairs, name) for pairs in found])
        for name in ("work", "change", "distance")
    )
    for far in _FAR:
        usable = np.flatnonzero((distance > _SAME) & (distance < far))
        if len(usable) >= _MIN_PAIRS:
            break
    closest = usable[np.argsort(distance[usable], kind="stable")[:_MAX_PAIRS]]
    if len(closest) < _MIN_PAIRS:
        nearest = f", the closest are {distance.min():.2g} A apart" if len(distance) else ""
        return _nothing(split, f"only {len(closest)} pairs of frames are close{nearest}")
    work, change, distance = work[closest], change[closest], distance[closest]
    if np.abs(work).max() == 0:
        return _nothing(split, "the forces are zero")
    weight = 1 / (distance**3 + np.median(distance) ** 3)  # errors of all pairs alike
    fit = Fit.of(weight * work, weight * change)
    n_atoms = float(np.median([frame.n_atoms for group in groups for frame in group]))
    causes = Causes("forces with the opposite sign", forces_factors() | energy_factors(n_atoms))
    verdict, text = PAIRS_OF_FRAMES.judge(fit, causes)
    text += f"; {len(work)} pairs {distance.min():.2g} to {distance.max():.2g} A apart"
    return Check(NAME, split, verdict, text, work, change, fit)


def _nothing(split: str, why: str) -> Check:
    return Check(NAME, split, Verdict.NOT_CONCLUSIVE, why)


def _pairs(group: Sequence[Frame], budget: int) -> _Pairs:
    first, second = _candidates(group, budget)
    positions = np.stack([frame.positions for frame in group])
    forces = np.stack([frame.forces for frame in group if frame.forces is not None])
    energies = np.array([frame.energy for frame in group])
    if group[0].pbc.any():
        scaled = np.stack([frame.scaled_positions for frame in group])
        steps = scaled[second] - scaled[first]
        lattice = group[0].cell * group[0].pbc[:, None]
        steps = np.round(steps) * group[0].pbc
        moved = positions[second] - positions[first] - steps @ lattice
        moved -= moved.mean(axis=1, keepdims=True)
        mean_force = (forces[first] + forces[second]) / 2
    else:
        start, end = _centred(positions[first]), _centred(positions[second])
        turn = _rotations(end, start)  # (n_pairs, 3, 3)
        moved = end @ turn - start
        mean_force = (forces[first] + forces[second] @ turn) / 2
    return _Pairs(
        work=-(mean_force * moved).sum(axis=(1, 2)),
        change=energies[second] - energies[first],
        distance=np.sqrt((moved**2).sum(axis=2).mean(axis=1)),
    )


def _candidates(group: Sequence[Frame], budget: int) -> tuple[Array, Array]:
    """Which frames to align: half of the budget neighbors in the list, half closest by features."""
    n_frames = len(group)
    consecutive = np.arange(n_frames - 1)
    if len(consecutive) > budget // 2:
        chosen = np.random.default_rng(0).choice(len(consecutive), budget // 2, replace=False)
        consecutive = consecutive[chosen]
    place = {frame.index: k for k, frame in enumerate(group)}
    some = sample(group, _MAX_FRAMES)
    squared = squared_distances(_features(some))
    upper = np.triu_indices(len(some), k=1)
    values = squared[upper]
    keep = min(len(values), budget - len(consecutive))
    best = np.argpartition(values, keep - 1)[:keep]
    at = np.array([place[frame.index] for frame in some])
    pairs = np.stack(
        [
            np.concatenate([consecutive, at[upper[0][best]]]),
            np.concatenate([consecutive + 1, at[upper[1][best]]]),
        ]
    )
    first, second = np.unique(pairs, axis=1)
    return first, second


def squared_distances(features: Array) -> Array:
    """Between all rows of (n, k), (n, n)."""
    features = features - features.mean(axis=0)
    norms = (features**2).sum(axis=1)
    squared: Array = np.maximum(norms[:, None] + norms - 2 * features @ features.T, 0.0)
    return squared


def _features(frames: Sequence[Frame]) -> Array:
    """Rows (n_frames, k) that lie close for structures that can be brought close."""
    if frames[0].pbc.any():
        scaled = np.stack([frame.scaled_positions for frame in frames])
        return periodic_features(scaled, frames[0].cell, frames[0].pbc)
    positions = np.stack([frame.positions for frame in frames])
    n_atoms = positions.shape[1]
    if n_atoms > _MAX_FEATURE_ATOMS:
        chosen = np.random.default_rng(0).choice(n_atoms, _MAX_FEATURE_ATOMS, replace=False)
        positions = positions[:, chosen]
    i, j = np.triu_indices(positions.shape[1], k=1)
    if len(i) == 0:
        return np.zeros((len(frames), 1))
    lengths: Array = np.linalg.norm(positions[:, i] - positions[:, j], axis=2)
    return lengths


def periodic_features(scaled: Array, cell: Array, pbc: Array) -> Array:
    """Smooth functions (n_frames, k) in A of scaled positions (n_frames, n_atoms, 3).

    Where the structure repeats, a coordinate becomes a point on a circle as long as the lattice
    vector; small differences are displacements.
    """
    edge = np.linalg.norm(cell, axis=1) + ~np.any(cell, axis=1)
    radius = edge / (2 * np.pi)
    angles = 2 * np.pi * scaled
    round_ = [np.cos(angles) * radius * pbc, np.sin(angles) * radius * pbc]
    parts = [*round_, scaled * edge * ~pbc]
    return np.concatenate([part.reshape(len(scaled), -1) for part in parts], axis=1)


def _centred(positions: Array) -> Array:
    centred: Array = positions - positions.mean(axis=1, keepdims=True)
    return centred


def _rotations(moving: Array, target: Array) -> Array:
    """Orthogonal matrices R (n, 3, 3) that make ``moving @ R`` closest to target (n, m, 3)."""
    left, _, right = np.linalg.svd(np.swapaxes(moving, 1, 2) @ target)
    turn: Array = left @ right
    return turn
