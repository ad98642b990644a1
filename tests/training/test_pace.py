from __future__ import annotations

import pytest

from hermnet.training.pace import Pace, duration


def test_speed_leaves_validation_out_and_the_time_left_does_not():
    now = [0.0]
    pace = Pace(lambda: now[0])
    pace.start(10, 20)
    assert pace.speed() is None
    assert pace.left() is None
    for step in (11, 12):
        now[0] += 0.5
        pace.add(30, step)
    now[0] += 3.0
    pace.resume()
    assert pace.speed() == pytest.approx((2.0, 60.0))
    assert pace.left() == pytest.approx(4.0 / 2 * 8)


def test_durations():
    assert [duration(s) for s in (-1, 61, 90061)] == ["0:00:00", "0:01:01", "1 d 01:01:01"]
