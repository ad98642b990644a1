"""Splits made here: by counts or fractions, at random with a seed, whole groups on one side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from hermnet.errors import InputError

Indices = dict[str, list[int]]  # by split


def carve(
    n_frames: int,
    parts: Mapping[str, float],
    seed: int,
    groups: Sequence[object] | None = None,
    rest: str | None = "train",
) -> Indices:
    """Take frames for validation and test out of the training frames.

    Args:
        n_frames: how many there are.
        parts: for each other split, a number of frames, or below 1 a fraction of all.
        seed: of the permutation; the same seed gives the same splits.
        groups: what each frame belongs to, such as its trajectory; a group stays together, so a
            part gets at least as many frames as asked for unless it would take the last group.
        rest: the split that gets all other frames; None to leave them out.

    Returns:
        Ascending indices of each part and of `rest`.

    Raises:
        InputError: if there are fewer frames than asked for, or nothing is left to train on.
    """
    wanted = {name: _count(name, part, n_frames) for name, part in parts.items()}
    rng = np.random.default_rng(seed)
    labels = [(index,) for index in range(n_frames)] if groups is None else list(groups)
    names = list(dict.fromkeys(labels))
    members: dict[object, list[int]] = {name: [] for name in names}
    for index, label in enumerate(labels):
        members[label].append(index)
    queue = [members[names[k]] for k in rng.permutation(len(names))]
    splits: Indices = {}
    for name, count in wanted.items():
        taken: list[int] = []
        while queue and len(taken) < count:
            taken += queue.pop(0)
        splits[name] = sorted(taken)
    asked = ", ".join(f"{name} {count}" for name, count in wanted.items())
    what = "frames" if groups is None else f"frames in {len(names)} groups"
    if rest is not None:
        splits[rest] = sorted(index for group in queue for index in group)
    if not splits["train"]:
        raise InputError(f"{asked} leaves nothing to train on: there are {n_frames} {what}")
    if any(len(splits[name]) < count for name, count in wanted.items()):
        raise InputError(f"{asked} are more than there are: {n_frames} {what}")
    return splits


def _count(name: str, part: float, n_frames: int) -> int:
    if part < 0:
        raise InputError(f"n_{name} must be a number of frames or a fraction, not {part}")
    if 0 < part < 1:
        return max(1, round(part * n_frames))
    if part != int(part):
        raise InputError(f"n_{name} must be a whole number of frames or a fraction, not {part}")
    return int(part)


def check_indices(indices: Indices, n_frames: int, path: Path) -> None:
    """Refuse the splits of an earlier run where the file has become shorter since.

    Raises:
        InputError: it names the first frame that is missing.
    """
    last = max((index for part in indices.values() for index in part), default=0)
    if last >= n_frames:
        raise InputError(f"the run's splits name frame {last}, but {path} holds {n_frames}")
