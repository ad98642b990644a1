from __future__ import annotations

import math

import pytest

from hermnet.analysis.timing import shares


def test_a_constant_that_every_run_has_is_nobodys():
    costs, constant = (5.0, 3.0, 2.0), 4.0
    found = shares(constant + sum(costs), [constant + cost for cost in costs])
    assert found == pytest.approx([0.5, 0.3, 0.2])


def test_noise_makes_no_negative_share():
    assert shares(0.1, [1.0, 2.0]) == pytest.approx([0.0, 1.0])
    assert shares(9.0, [1.0, 3.0]) == pytest.approx([0.25, 0.75])


def test_one_relation_and_none():
    assert shares(3.0, [3.1]) == [1.0]
    assert shares(0.0, []) == []
    assert math.isnan(shares(0.0, [0.0, 0.0])[0])
