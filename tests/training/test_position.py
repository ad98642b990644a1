"""What Lightning makes of the counters is tested with runs, in test_saving.py."""

from __future__ import annotations

import pytest

from hermnet.training.position import Position


@pytest.mark.parametrize(
    ("position", "text", "last_epoch"),
    [
        (Position(2, 7, 20), "epoch 3, batch 7 of 20", 2),
        (Position(2, 0, 20), "the end of epoch 2", 1),
    ],
)
def test_a_position_as_people_count(position: Position, text: str, last_epoch: int):
    assert str(position) == text
    assert position.last_epoch == last_epoch
    assert Position.of(position.to_dict()) == position
