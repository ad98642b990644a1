"""Do labels agree with pair potentials fitted to the forces? Rough, but always at hand."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import numpy as np

from hermnet.data.consistency import (
    PAIR_MODEL,
    Array,
    Causes,
    Check,
    Fit,
    Verdict,
    energy_factors,
    forces_factors,
    stress_factors,
)
from hermnet.data.consistency_pair_model import Prediction, can_fit, fit_and_predict
from hermnet.data.consistency_strain import NAMES, voigt
from hermnet.data.inspection_frames import Frame, sample

ENERGY = "energy against a pair model of the forces"
STRESS = "stress against a pair model of the forces"
_MAX_FRAMES = 300
_MIN_FRAMES = 8
_MAX_ATOMS = 6000  # of all frames together
_SMALLEST_FORCE = 0.1  # of the split's root mean square, below which a frame is too ordered
_EXPLAINED = 0.6  # share of the forces' squares that the model must explain
_CLEAR = 0.7  # correlation of a component with another that counts as exchange
_MARGIN = 0.25  # by which that must exceed the correlation with its own


def check_pair_model(split: str, frames: Sequence[Frame]) -> list[Check]:
    """Fit pair potentials to the forces and compare their stress, and their energy.

    Every component of the labelled stress must go with the same component of the model's stress:
    its traceless part, since pair potentials do not know the energy of a volume.

    Args:
        split: name of the split.
        frames: its frames.

    Returns:
        The check of the energy and that of the stress.
    """
    strong = _disordered(frames)
    if len(strong) < _MIN_FRAMES:
        why = f"only {len(strong)} frames have forces of some size"
        return [_nothing(ENERGY, split, why), _nothing(STRESS, split, why)]
    mean_size = sum(frame.n_atoms for frame in strong) / len(strong)
    chosen = sample(strong, max(_MIN_FRAMES, min(_MAX_FRAMES, int(_MAX_ATOMS / mean_size))))
    why_not = can_fit(chosen)
    if why_not is not None:
        return [_nothing(ENERGY, split, why_not), _nothing(STRESS, split, why_not)]
    prediction = fit_and_predict(chosen)
    if prediction.explained < _EXPLAINED:
        why = f"the pair model explains only {prediction.explained:.0%} of the forces"
        return [_nothing(ENERGY, split, why), _nothing(STRESS, split, why)]
    return [_energy(split, chosen, prediction), _stress(split, chosen, prediction)]


def _disordered(frames: Sequence[Frame]) -> list[Frame]:
    """Frames whose forces are not small beside those of the others."""
    squares = [(f, float((f.forces**2).mean())) for f in frames if f.forces is not None]
    mean = float(np.mean([square for _, square in squares])) if squares else 0.0
    return [frame for frame, square in squares if square > _SMALLEST_FORCE**2 * mean]


def _nothing(name: str, split: str, why: str) -> Check:
    return Check(name, split, Verdict.NOT_CONCLUSIVE, why)


def _without_means(frames: Sequence[Frame], values: Array) -> Array:
    """Values (n_frames, k) less their mean over frames of the same composition."""
    compositions = [tuple(sorted(frame.atomic_numbers.tolist())) for frame in frames]
    left = values.copy()
    for composition in set(compositions):
        mine = np.array([other == composition for other in compositions])
        left[mine] -= values[mine].mean(axis=0)
    return left


def _energy(split: str, frames: Sequence[Frame], prediction: Prediction) -> Check:
    known = [k for k, frame in enumerate(frames) if frame.energy is not None]
    if len(known) < _MIN_FRAMES:
        return _nothing(ENERGY, split, f"only {len(known)} frames have energies")
    some = [frames[k] for k in known]
    energies = np.array([[frame.energy] for frame in some])
    labelled = _without_means(some, energies)[:, 0]
    expected = _without_means(some, prediction.energies[known, None])[:, 0]
    fit = Fit.of(expected, labelled)
    n_atoms = float(np.median([frame.n_atoms for frame in some]))
    causes = Causes("forces with the opposite sign", forces_factors() | energy_factors(n_atoms))
    verdict, text = PAIR_MODEL.judge(fit, causes)
    text += f"; {len(some)} frames, {prediction.explained:.0%} of the forces explained"
    return Check(ENERGY, split, verdict, text, expected, labelled, fit)


def _stress(split: str, frames: Sequence[Frame], prediction: Prediction) -> Check:
    known = [k for k, f in enumerate(frames) if f.stress is not None and f.volume > 0]
    known = [k for k in known if prediction.explained_by_frame[k] > _EXPLAINED]
    if len(known) < _MIN_FRAMES:
        return _nothing(
            STRESS, split, f"only {len(known)} frames with well explained forces and a stress"
        )
    some = [frames[k] for k in known]
    labelled = _traceless(some, np.stack([np.asarray(frame.stress) for frame in some]))
    expected = _traceless(some, prediction.stress[known])
    own = Fit.of(expected.ravel(), labelled.ravel())
    size = f"{len(some)} frames, {prediction.explained:.0%} of the forces explained"
    exchanged = _exchanged(expected, labelled)
    if exchanged:
        verdict, text = Verdict.SUSPICIOUS, f"looks like components in another order: {exchanged}"
    else:
        verdict, text = PAIR_MODEL.judge(own, _stress_causes(some))
    return Check(STRESS, split, verdict, f"{text}; {size}", expected.ravel(), labelled.ravel(), own)


def _stress_causes(frames: Sequence[Frame]) -> Causes:
    volume = float(np.median([frame.volume for frame in frames]))
    # Forces that are read too small make the expected stress too small.
    forces = {words: factor for words, factor in forces_factors().items() if "forces" in words}
    return Causes("stress, or else forces, with the opposite sign", stress_factors(volume) | forces)


def _traceless(frames: Sequence[Frame], stress: Array) -> Array:
    """Six components (n_frames, 6) without pressure and without their means."""
    components = voigt(stress)
    components[:, :3] -= components[:, :3].mean(axis=1, keepdims=True)
    return _without_means(frames, components)


def _exchanged(expected: Array, labelled: Array) -> str:
    """Which labelled component (n_frames, 6) is which of the model's, where clearly not its own."""
    strength = np.abs(
        [[Fit.of(expected[:, j], labelled[:, i]).correlation for j in range(6)] for i in range(6)]
    )
    orders = np.array(list(permutations(range(6))))
    best = orders[int(np.argmax(strength[np.arange(6), orders].sum(axis=1)))].tolist()
    words = []
    for k in range(6):
        own, other = strength[k, k], strength[k, best[k]]
        if best[k] != k and other <= max(_CLEAR, own + _MARGIN):
            return ""
        if best[k] != k:
            words.append(
                f"{NAMES[k]} goes with {NAMES[best[k]]} (correlation {other:.2f}, own {own:.2f})"
            )
    return ", ".join(words)
