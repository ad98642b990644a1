"""How sure a difference of errors is: a bootstrap over test frames and seeds.

Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapters 8 and 13. Frames are drawn
with replacement, the same ones for all variants, for these predict the same frames; seeds are
drawn for each variant on its own. Of S seeds the spread of a resampled mean is too small by
sqrt((S-1)/S), which is put right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
N_SAMPLES = 4000
_CHUNK = 250  # resamples at a time
_LEVEL = 0.95


@dataclass(frozen=True)
class Change:
    """A relative change of an error, such as -0.12 for 12 % less.

    Attributes:
        value: what was found.
        low: lower end of the 95 % interval.
        high: upper end of it.
        p: two-sided probability of a change as large without a true one.
    """

    value: float
    low: float
    high: float
    p: float

    @property
    def is_clear(self) -> bool:
        """Whether zero is outside the interval."""
        return self.low > 0 or self.high < 0


@final
class Bootstrap:
    """Resampled mean absolute errors of variants.

    Args:
        sums: for each variant and seed (n_frames, 3) sums of absolute errors, of squared ones, and
            numbers of values.
        seed: of the random numbers.
    """

    def __init__(self, sums: Mapping[str, Sequence[Array]], seed: int = 0) -> None:
        self._found = {label: float(_means(runs)[0].mean()) for label, runs in sums.items()}
        self._samples = {label: np.empty(N_SAMPLES) for label in sums}
        groups: dict[bytes, list[str]] = {}
        for label, runs in sums.items():  # those with the same frames are resampled together
            groups.setdefault(runs[0][:, 2].tobytes(), []).append(label)
        self.is_paired = len(groups) == 1
        generator = np.random.default_rng(seed)
        for labels in groups.values():
            n_frames = len(sums[labels[0]][0])
            for start in range(0, N_SAMPLES, _CHUNK):
                size = min(_CHUNK, N_SAMPLES - start)
                shares = np.full(n_frames, 1 / n_frames)
                counts = generator.multinomial(n_frames, shares, size).astype(np.float64)
                for label in labels:
                    means = _means(sums[label], counts)  # (size, n_seeds)
                    self._samples[label][start : start + size] = _over_seeds(means, generator)

    def change(self, variant: str, baseline: str) -> Change:
        """How much larger the error of a variant is than that of the baseline."""
        return self.mean_change([(variant, baseline)])

    def mean_change(self, pairs: Sequence[tuple[str, str]]) -> Change:
        """The geometric mean of the changes of several pairs of variant and baseline."""
        found = np.mean([np.log(self._found[a] / self._found[b]) for a, b in pairs])
        logs = np.mean([np.log(self._samples[a] / self._samples[b]) for a, b in pairs], axis=0)
        tail = (1 - _LEVEL) / 2
        low, high = np.quantile(logs, [tail, 1 - tail])
        below = (1 + np.sum(logs <= 0)) / (1 + N_SAMPLES)
        above = (1 + np.sum(logs >= 0)) / (1 + N_SAMPLES)
        value, low, high = (float(np.expm1(x)) for x in (found, low, high))
        return Change(value, low, high, float(min(1.0, 2 * min(below, above))))


def _means(runs: Sequence[Array], counts: Array | None = None) -> Array:
    """MAE of each run, (n_samples, n_seeds), frames counted as (n_samples, n_frames) says."""
    table = np.stack(runs)  # (n_seeds, n_frames, 3)
    weights = np.ones((1, table.shape[1])) if counts is None else counts
    values = weights @ table[:, :, 2].T
    result: Array = (weights @ table[:, :, 0].T) / np.maximum(values, 1.0)
    return result


def _over_seeds(means: Array, generator: np.random.Generator) -> Array:
    """Means over as many seeds, drawn with replacement; (n_samples,)."""
    n_seeds = means.shape[1]
    center: Array = means.mean(axis=1)
    if n_seeds == 1:
        return center
    drawn = generator.integers(n_seeds, size=means.shape)
    resampled = np.take_along_axis(means, drawn, axis=1).mean(axis=1)
    spread = (resampled - center) * np.sqrt(n_seeds / (n_seeds - 1))
    result: Array = np.maximum(center + spread, 1e-12)  # an error, where seeds are far apart
    return result


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """P values that account for how many were looked at (Holm, Scand. J. Stat. 6, 65, 1979)."""
    adjusted, running = {}, 0.0
    for rank, (label, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        running = max(running, min(1.0, p * (len(p_values) - rank)))
        adjusted[label] = running
    return adjusted
