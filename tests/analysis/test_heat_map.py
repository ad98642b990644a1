"""What stands in the pictures, read off their axes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hermnet.analysis.heat_map import heat_map, ink, norm_of, short
from hermnet.analysis.periodic_table import n_rows, periodic_table
from hermnet.run.plots import new_figure


def axis() -> Any:
    _, (one,) = new_figure(1)
    return one


def texts(one: Any) -> dict[str, tuple[float, float]]:
    return {text.get_text(): text.get_position() for text in one.texts}


def test_elements_stand_where_they_belong():
    one = axis()
    periodic_table(one, {1: 3.0, 8: 20.0, 26: np.nan, 57: 0.5, 71: 7.0}, is_logarithmic=True)
    found = texts(one)
    assert found["H"][0] == 1
    assert found["O"][0] == 16
    assert found["Fe"][0] == 8
    assert found["Lu"][0] == 3
    assert found["La"][1] > 7, "the f block stands below"
    assert {"3", "20", "-", "0.5", "7"} <= set(found)
    n_cells = len(one.patches)
    assert n_cells == 86, "periods 1 to 6"
    assert n_rows([1, 8]) == 2
    assert n_rows([57]) > 6


def test_matrices_have_numbers_where_there_is_room():
    values = np.array([[1.0, -2.0], [np.nan, 400.0]])
    one = axis()
    heat_map(one, values, ["H", "O"], is_logarithmic=True)
    assert texts(one) == {"1": (0, 0), "-2": (1, 0), "400": (1, 1)}
    assert [label.get_text() for label in one.get_xticklabels()] == ["H", "O"]
    large = axis()
    heat_map(large, np.ones((13, 13)), [str(k) for k in range(13)])
    assert not large.texts


@pytest.mark.parametrize(
    ("values", "is_logarithmic", "ends"),
    [
        ([2.0, np.nan, 5.0], False, (0.0, 5.0)),
        ([-1.0, 3.0, 300.0], True, (3.0, 300.0)),
        ([np.nan], True, (0.0, 1.0)),
        ([7.0, 7.0], True, (0.0, 7.0)),
        ([-4.0, -2.0], False, (-4.0, -2.0)),
    ],
)
def test_ends_of_the_colours(values: list[float], is_logarithmic: bool, ends: tuple[float, float]):
    norm = norm_of(np.array(values), is_logarithmic)
    assert (norm.vmin, norm.vmax) == pytest.approx(ends)


def test_short_numbers_and_readable_ink():
    assert [short(v) for v in (0.01234, 12.34, 1234.0, 28500.0, 3.2e6)] == [
        "0.0123",
        "12.3",
        "1234",
        "28.5k",
        "3.2M",
    ]
    assert (ink("white"), ink("navy")) == ("black", "white")
