from __future__ import annotations

import pytest
import torch

from hermnet.training.warmup import warm_up


@pytest.mark.parametrize("start", [0, 2])
def test_the_rate_rises_and_the_scheduler_does_not_notice(start: int):
    """Steps of plain gradient descent on a slope of 1 are as long as the rate."""
    weight = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    step = start
    warm_up(optimizer, 4, lambda: step)
    lengths = []
    for _ in range(6):
        before = weight.item()
        weight.grad = torch.ones_like(weight)
        optimizer.step()
        scheduler.step()
        lengths.append(before - weight.item())
        step += 1
    parts = [min(1.0, (start + k + 1) / 4) for k in range(6)]
    assert lengths == pytest.approx([part * 0.5**k for k, part in enumerate(parts)])


def test_without_warm_up_nothing_changes():
    weight = torch.nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    warm_up(optimizer, 0, lambda: 0)
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    assert weight.item() == -1.0
