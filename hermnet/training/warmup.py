"""A learning rate that rises at the start, whatever the scheduler does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer


def warm_up(optimizer: Optimizer, n_steps: int, current_step: Callable[[], int]) -> None:
    """Let the first steps use a part of the learning rate: step k of n uses (k + 1) / n of it.

    The rate that schedulers see stays as it is: many of them compute the next from the last one.

    Args:
        optimizer: its rate is lowered during a step and put back after it.
        n_steps: number of such steps; 0 for none.
        current_step: number of the optimizer's step that is due, from 0; a resumed run knows it.
    """
    if n_steps == 0:
        return
    rates: list[Any] = []

    def lower(*_: Any) -> None:
        rates[:] = [group["lr"] for group in optimizer.param_groups]
        part = min(1.0, (current_step() + 1) / n_steps)
        for group in optimizer.param_groups:
            group["lr"] = group["lr"] * part

    def put_back(*_: Any) -> None:
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate

    optimizer.register_step_pre_hook(lower)
    optimizer.register_step_post_hook(put_back)
