from __future__ import annotations

import pytest
import torch

from hermnet.training.averages import EpochMeans

CPU = torch.device("cpu")


def test_means_are_over_structures():
    means = EpochMeans()
    for value, n_systems in ((1.0, 3), (2.0, 3), (9.0, 2)):
        means.add("loss", torch.tensor(value), n_systems)
        means.add("other", torch.tensor(-value), n_systems)
    found = means.means()
    assert found["loss"].item() == pytest.approx((3 * 1 + 3 * 2 + 2 * 9) / 8)
    assert found["other"] == -found["loss"]


def test_a_state_is_gone_on_from_exactly():
    torch.manual_seed(0)
    values = torch.rand(7)
    whole, before, after = EpochMeans(), EpochMeans(), EpochMeans()
    for value in values:
        whole.add("loss", value, 3)
    for value in values[:4]:
        before.add("loss", value, 3)
    after.load(before.state(), CPU)
    for value in values[4:]:
        after.add("loss", value, 3)
        before.add("loss", value, 9)  # the state is a copy
    assert torch.equal(after.state()["loss"], whole.state()["loss"])


def test_what_was_skipped_does_not_count():
    means = EpochMeans()
    for value in (1.0, float("nan"), float("inf"), 3.0):
        means.add("loss", torch.tensor(value), 2)
    assert means.means()["loss"] == 2.0
