from __future__ import annotations

import pytest
from torch.utils.data import DataLoader

from hermnet.data.continued import ContinuedBatches
from hermnet.data.sampling import BoundedBatches, EpochSampler, EvenBatches


def whole(sampler: EpochSampler, kind: str) -> EvenBatches | BoundedBatches:
    if kind == "frames":
        return EvenBatches(sampler, 3)
    return BoundedBatches(sampler, [1 + k % 4 for k in range(20)], 12, "edges")


def epochs(batches: EvenBatches | BoundedBatches | ContinuedBatches, first: int) -> list[object]:
    found = []
    for epoch in range(first, 4):
        batches.sampler.set_epoch(epoch)
        found.append(list(batches))
    return found


@pytest.mark.parametrize("kind", ["frames", "edges"])
@pytest.mark.parametrize(("epoch", "n_had"), [(0, 2), (2, 0), (2, 3), (1, 7)])
def test_the_rest_of_the_epoch_and_then_whole_ones(kind: str, epoch: int, n_had: int):
    expected = epochs(whole(EpochSampler(20, 5), kind), epoch)
    batches = ContinuedBatches(whole(EpochSampler(20, 5), kind), epoch, n_had)
    assert len(batches) == len(expected[0])
    expected[0] = expected[0][n_had:]
    assert list(batches) == expected[0], "before anybody has set the epoch: workers begin early"
    assert epochs(batches, epoch) == expected
    assert epochs(batches, epoch) == expected, "looking twice changes nothing"


def test_a_loader_with_workers_begins_in_the_right_epoch():
    expected = epochs(whole(EpochSampler(20, 5), "frames"), 2)[0][1:]
    batches = ContinuedBatches(whole(EpochSampler(20, 5), "frames"), 2, 1)
    loader = DataLoader(range(20), batch_sampler=batches, num_workers=1, collate_fn=list)
    assert list(loader) == expected
