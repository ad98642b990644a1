"""Do energies and stress agree? Between frames that differ by a small strain dE = V sigma : de."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from hermnet.data.consistency import (
    STRAINED_PAIRS,
    Array,
    Causes,
    Check,
    Fit,
    Verdict,
    energy_factors,
    stress_factors,
)
from hermnet.data.consistency_energy_forces import periodic_features, squared_distances
from hermnet.data.inspection_frames import Frame, grouped, sample

NAME = "energy against stress"
COMPONENTS = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
NAMES = ("xx", "yy", "zz", "yz", "xz", "xy")
_MAX_FRAMES = 1500  # of one group whose scaled positions are all compared
_MAX_GROUPS = 200
_PER_FRAME = 4  # nearest strains that a frame is paired with
_MIN_PAIRS = 8
_SAME_PLACE = 0.05  # A root mean square that atoms may stray from the homogeneous strain
_STRAY_WORK = 0.1  # of the energy difference, that straying may have to do with
_SMALLEST, _LARGEST = 1e-4, 0.06  # strain


@dataclass(frozen=True)
class _Pairs:
    """Pairs of frames that differ by a strain."""

    change: Array  # (n_pairs,) eV
    strain: Array  # (n_pairs, 6), shears counted twice
    stress: Array  # (n_pairs, 6) eV, mean of volume times stress
    n_atoms: Array  # (n_pairs,)
    volume: Array  # (n_pairs,) A^3


def check_strain(split: str, frames: Sequence[Frame]) -> Check:
    """Regress energy differences on the work of the mean stress.

    Pairs have the same scaled positions and other cells. The strain is taken about the mean of both
    cells; a frame is paired with those nearest to it in strain.

    Args:
        split: name of the split.
        frames: its frames.
    """
    known = [f for f in frames if f.energy is not None and f.stress is not None and f.pbc.all()]
    if not known:
        return _nothing(split, "no periodic frame has energy and stress")
    groups = grouped(known, lambda frame: frame.order_key)[:_MAX_GROUPS]
    found = [pairs for group in groups for pairs in _pairs(sample(group, _MAX_FRAMES))]
    n_pairs = sum(len(pairs.change) for pairs in found)
    if n_pairs < _MIN_PAIRS:
        return _nothing(split, f"only {n_pairs} pairs of frames differ by a small strain alone")
    pairs = _joined(found)
    work = (pairs.stress * pairs.strain).sum(axis=1)
    weight = 1 / (pairs.n_atoms * np.linalg.norm(pairs.strain, axis=1))
    fit = Fit.of(weight * work, weight * pairs.change)
    if fit.slope == 0:
        return _nothing(split, "energies or stress do not vary")
    exchanged = _exchanged(pairs, weight, fit)
    if exchanged is not None:
        verdict, text = Verdict.SUSPICIOUS, f"{fit}; {exchanged}"
    else:
        factors = {
            words: 1 / f for words, f in stress_factors(float(np.median(pairs.volume))).items()
        }
        factors |= energy_factors(float(np.median(pairs.n_atoms)))
        causes = Causes("stress with the opposite sign (positive under pressure)", factors)
        verdict, text = STRAINED_PAIRS.judge(fit, causes)
    return Check(NAME, split, verdict, f"{text}; {n_pairs} pairs", work, pairs.change, fit)


def _nothing(split: str, why: str) -> Check:
    return Check(NAME, split, Verdict.NOT_CONCLUSIVE, why)


def _joined(parts: Sequence[_Pairs]) -> _Pairs:
    names = ("change", "strain", "stress", "n_atoms", "volume")
    return _Pairs(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def voigt(tensors: Array) -> Array:
    """Symmetric (n, 3, 3) as (n, 6) in the order of `NAMES`."""
    symmetric = (tensors + np.swapaxes(tensors, 1, 2)) / 2
    return np.stack([symmetric[:, i, j] for i, j in COMPONENTS], axis=1)


def _pairs(group: Sequence[Frame]) -> list[_Pairs]:
    scaled = np.stack([frame.scaled_positions for frame in group])
    cells = np.stack([frame.cell for frame in group])
    first, second, gradient = _strained(scaled, cells)
    steps = scaled[second] - scaled[first]
    steps -= np.round(steps - steps[:, :1])  # the first atom may be anywhere, the others follow
    steps -= steps.mean(axis=1, keepdims=True)
    strays = steps @ cells[first]  # (n_pairs, n_atoms, 3) A
    kept = (strays**2).sum(axis=2).mean(axis=1) < _SAME_PLACE**2
    kept &= _negligible_work(group, first, second, strays)
    if not kept.any():
        return []
    first, second, gradient, strays = first[kept], second[kept], gradient[kept], strays[kept]
    energies = np.array([frame.energy for frame in group])
    volumes = np.array([frame.volume for frame in group])
    virial = volumes[:, None] * voigt(np.stack([np.asarray(frame.stress) for frame in group]))
    twice = np.array([1.0, 1.0, 1.0, 2.0, 2.0, 2.0])
    return [
        _Pairs(
            change=energies[second] - energies[first],
            strain=voigt(gradient) * twice,
            stress=(virial[first] + virial[second]) / 2,
            n_atoms=np.full(len(first), float(group[0].n_atoms)),
            volume=volumes[first],
        )
    ]


def _negligible_work(group: Sequence[Frame], first: Array, second: Array, strays: Array) -> Array:
    """Pairs (n_pairs,) bool whose energies differ by the strain, not by atoms that stray."""
    if any(frame.forces is None for frame in group):
        return np.ones(len(first), dtype=bool)
    forces = np.stack([np.asarray(frame.forces) for frame in group])
    energies = np.array([frame.energy for frame in group])
    work = ((forces[first] + forces[second]) / 2 * strays).sum(axis=(1, 2))
    negligible: Array = np.abs(work) <= _STRAY_WORK * np.abs(energies[second] - energies[first])
    return negligible


def _strained(scaled: Array, cells: Array) -> tuple[Array, Array, Array]:
    """Pairs of frames that may differ by a strain alone, and the strain (n_pairs, 3, 3)."""
    relative = scaled - scaled[:, :1]
    features = periodic_features(relative, cells[0], np.ones(3, dtype=bool))
    # Against the first atom everything may stray by as much as the first atom does.
    alike = squared_distances(features) < scaled.shape[1] * (4 * _SAME_PLACE) ** 2
    first, second = np.nonzero(alike)
    gradient = 2 * np.linalg.inv(cells[first] + cells[second]) @ (cells[second] - cells[first])
    size = np.linalg.norm(gradient, axis=(1, 2))
    small = np.flatnonzero((size > _SMALLEST) & (size < _LARGEST))
    first, second, gradient, size = first[small], second[small], gradient[small], size[small]
    order = np.lexsort((size, first))
    starts = np.searchsorted(first[order], first[order])  # where the pairs of this frame begin
    nearest = order[np.arange(len(order)) - starts < _PER_FRAME]
    return first[nearest], second[nearest], gradient[nearest]


def _exchanged(pairs: _Pairs, weight: Array, fit: Fit) -> str | None:
    """Say which shears look exchanged: the order that explains the energies much better."""
    size = abs(fit.correlation)
    best, best_order = size, tuple(range(3))
    for order in permutations(range(3)):
        columns = [0, 1, 2, *(3 + k for k in order)]
        work = (pairs.stress[:, columns] * pairs.strain).sum(axis=1)
        strength = abs(Fit.of(weight * work, weight * pairs.change).correlation)
        if strength > best:
            best, best_order = strength, order
    if best < 0.95 or 1 - best > 0.5 * (1 - size) or best - size < 0.01:
        return None
    names = NAMES[3:]
    wrong = [names[k] for k in range(3) if best_order[k] != k]
    return (
        f"looks like the components {' and '.join(wrong)} in another order, with which the "
        f"correlation is {best:.3f}"
    )
