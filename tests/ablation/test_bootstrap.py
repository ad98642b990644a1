from __future__ import annotations

import numpy as np
import pytest

from hermnet.ablation.bootstrap import Bootstrap, holm

N_FRAMES = 400


def sums(mae: np.ndarray, n_values: int = 3) -> np.ndarray:
    return np.stack([n_values * mae, n_values * mae**2, np.full(len(mae), n_values)], axis=1)


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return np.random.default_rng(0).lognormal(size=N_FRAMES)


def test_frames_are_paired(frames: np.ndarray):
    """Errors in proportion differ by exactly that, whichever frames are drawn."""
    found = Bootstrap({"a": [sums(frames)], "b": [sums(0.88 * frames)]})
    change = found.change("b", "a")
    assert found.is_paired
    assert [change.value, change.low, change.high] == pytest.approx([-0.12] * 3, abs=1e-12)
    assert change.is_clear
    assert change.p < 1e-3


def test_the_spread_over_frames_is_that_of_the_delta_method(frames: np.ndarray):
    other = np.random.default_rng(1).lognormal(size=N_FRAMES)
    change = Bootstrap({"a": [sums(frames)], "b": [sums(other)]}).change("b", "a")
    logs = other / other.mean() - frames / frames.mean()  # of log(mean b / mean a), frame by frame
    expected = 2 * 1.96 * logs.std() / np.sqrt(N_FRAMES)
    assert np.log1p(change.high) - np.log1p(change.low) == pytest.approx(expected, rel=0.08)
    assert change.value == pytest.approx(other.mean() / frames.mean() - 1)


def test_the_spread_over_seeds_is_that_of_a_mean():
    """Three seeds that differ by known amounts, all frames alike."""
    levels = np.array([0.9, 1.0, 1.1])
    seeds = [sums(np.full(N_FRAMES, level)) for level in levels]
    found = Bootstrap({"a": [sums(np.ones(N_FRAMES))], "b": seeds})
    spread = found._samples["b"].std()
    assert spread == pytest.approx(levels.std(ddof=1) / np.sqrt(3), rel=0.05)
    assert not found.change("b", "a").is_clear


def test_what_is_alike_is_not_told_apart(frames: np.ndarray):
    generator = np.random.default_rng(2)
    runs = {
        name: [sums(frames * generator.lognormal(sigma=0.1, size=N_FRAMES)) for _ in range(3)]
        for name in ("a", "b")
    }
    change = Bootstrap(runs).change("b", "a")
    assert not change.is_clear
    assert change.p > 0.05


def test_other_frames_are_drawn_on_their_own(frames: np.ndarray):
    found = Bootstrap({"a": [sums(frames)], "b": [sums(0.5 * frames[:300])]})
    assert not found.is_paired
    assert found.change("b", "a").high < 0


def test_means_over_pairs_are_geometric(frames: np.ndarray):
    factors = {"a": 1.0, "b": 0.5, "c": 1.0, "d": 2.0}
    found = Bootstrap({name: [sums(factor * frames)] for name, factor in factors.items()})
    assert found.mean_change([("b", "a"), ("d", "c")]).value == pytest.approx(0.0, abs=1e-12)


def test_the_same_numbers_every_time(frames: np.ndarray):
    runs = {"a": [sums(frames)], "b": [sums(frames[::-1])]}
    assert Bootstrap(runs).change("b", "a") == Bootstrap(runs).change("b", "a")


def test_holm_is_the_textbook_example():
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}) == pytest.approx(
        {"d": 0.02, "a": 0.03, "c": 0.06, "b": 0.06}
    )
