"""Orders and batches are functions of seed and epoch."""

from __future__ import annotations

import numpy as np
import pytest

from hermnet.data.sampling import BoundedBatches, EpochSampler, filled
from hermnet.errors import InputError


def batches(sizes: np.ndarray, limit: int, epoch: int = 0, **options) -> list[list[int]]:
    sampler = EpochSampler(len(sizes), seed=5)
    sampler.set_epoch(epoch)
    made = BoundedBatches(sampler, sizes.tolist(), limit, "edges", **options)
    found = list(made)
    assert len(found) == len(made)
    return found


def test_weights_say_how_often_a_frame_is_drawn():
    weights = [1.0, 2.0, 0.25, 0.25, 0.25, 0.25, 3.0]
    sampler = EpochSampler(len(weights), seed=0, weights=weights)
    counts = np.zeros((40, len(weights)))
    for epoch in range(40):
        sampler.set_epoch(epoch)
        assert len(list(sampler)) == len(sampler) == 7
        counts[epoch] = np.bincount(list(sampler), minlength=len(weights))
    assert (counts[:, [0, 1, 6]] == [1, 2, 3]).all()
    assert (counts[:, 2:6].sum(axis=1) == 1).all()
    assert (counts[:, 2:6].sum(axis=0) > 0).all()


@pytest.mark.parametrize("limit", [300, 450, 10_000])
@pytest.mark.parametrize("n_frames", [1, 2, 3, 10, 257])
def test_bounded_batches_hold_every_frame_once_and_keep_the_limit(n_frames: int, limit: int):
    sizes = np.random.default_rng(n_frames).integers(1, 101, size=n_frames)
    sizes[0] = 100
    numbers = set()
    for epoch in range(5):
        found = batches(sizes, limit, epoch)
        assert sorted(index for batch in found for index in batch) == list(range(n_frames))
        assert all(0 < sizes[batch].sum() <= limit for batch in found)
        numbers.add(len(found))
    assert len(numbers) == 1  # Lightning asks once


def test_bounded_batches_are_reproducible_and_change_with_the_epoch():
    sizes = np.random.default_rng(0).integers(1, 101, size=200)
    assert batches(sizes, 400, epoch=3) == batches(sizes, 400, epoch=3)
    assert batches(sizes, 400, epoch=3) != batches(sizes, 400, epoch=4)


def test_frames_of_a_batch_are_of_like_size():
    sizes = np.random.default_rng(0).integers(1, 101, size=2000)
    within = np.mean([sizes[batch].std() for batch in batches(sizes, 1000)])
    assert within < 0.2 * sizes.std()


def test_processes_share_the_batches():
    sizes = np.random.default_rng(0).integers(1, 101, size=100)
    shares = [batches(sizes, 500, share=(rank, 3)) for rank in range(3)]
    assert len({len(share) for share in shares}) == 1
    together = [index for share in shares for batch in share for index in batch]
    assert sorted(together) == list(range(100))


def test_a_frame_that_is_too_large_is_named():
    with pytest.raises(
        InputError, match=r"max_edges_per_batch: 200 leaves .* 90 edges of frame 1; .* at least 270"
    ):
        BoundedBatches(EpochSampler(3, 0), [10, 90, 10], 200, "edges")


def test_filled_batches_keep_order_and_limits():
    assert filled([3, 3, 3, 9, 1, 1, 1, 1], limit=6, n_most=3) == [[0, 1], [2], [3], [4, 5, 6], [7]]
    assert filled([], 5, 2) == []
