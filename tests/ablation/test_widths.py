from __future__ import annotations

from dataclasses import replace

import pytest

from hermnet.ablation.widths import TOLERANCE, solve_width
from hermnet.errors import InputError
from hermnet.model_options import ModelOptions
from hermnet.models import make_model

ELEMENTS = (1, 6, 8)


def count(options: ModelOptions) -> int:
    model = make_model(options, ELEMENTS, 8.0, {})
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("subnet", "relations"),
    [
        ("painn", "vertex"),
        ("painn", "triadic"),
        ("schnet", "pair"),
        ("rmconv", "none"),
        ("nequip", "none"),
        ("nequip", "vertex"),
    ],
)
def test_the_parameters_are_those_of_the_baseline(subnet: str, relations: str):
    target = count(ModelOptions(n_channels=64, n_layers=1, relations="none"))
    options = ModelOptions(subnet=subnet, relations=relations, n_channels=64, n_layers=1)
    solved = solve_width(options, count, target)
    assert abs(count(solved) / target - 1) <= TOLERANCE
    assert replace(solved, n_channels=64, n_radial=options.n_radial) == options


def test_what_is_equal_stays():
    options = ModelOptions(n_channels=64, n_layers=1)
    assert solve_width(options, count, round(0.99 * count(options))) == options


def test_a_multiple_of_four_is_preferred():
    # 100 to 104 are all within 2 % of 102
    solved = solve_width(ModelOptions(n_channels=8), lambda options: options.n_channels, 102)
    assert solved.n_channels in (100, 104)


def test_radial_functions_change_as_little_as_possible():
    def coarse(options: ModelOptions) -> int:  # a channel is 10 % of it
        return 1000 * options.n_channels + 100 * options.n_radial

    solved = solve_width(ModelOptions(n_channels=20, n_radial=20), coarse, 12500)
    assert abs(coarse(solved) / 12500 - 1) <= TOLERANCE
    assert (solved.n_channels, solved.n_radial) == (10, 23)


def test_an_impossible_number_is_refused_with_the_nearest():
    with pytest.raises(
        InputError, match=r"no width gives it 10 parameters within 2%: .* n_channels=4.*gives 400"
    ):
        solve_width(ModelOptions(), lambda options: 100 * options.n_channels, 10)
