from __future__ import annotations

import re

import pytest

from hermnet.elements import block, group, number, period, symbol
from hermnet.errors import InputError

PLACES = [
    # symbol, number, group, period, block
    ("H", 1, 1, 1, "s"),
    ("He", 2, 18, 1, "s"),
    ("Be", 4, 2, 2, "s"),
    ("B", 5, 13, 2, "p"),
    ("O", 8, 16, 2, "p"),
    ("Ne", 10, 18, 2, "p"),
    ("K", 19, 1, 4, "s"),
    ("Sc", 21, 3, 4, "d"),
    ("Fe", 26, 8, 4, "d"),
    ("Zn", 30, 12, 4, "d"),
    ("Ga", 31, 13, 4, "p"),
    ("I", 53, 17, 5, "p"),
    ("Ba", 56, 2, 6, "s"),
    ("La", 57, 3, 6, "f"),
    ("Gd", 64, 3, 6, "f"),
    ("Yb", 70, 3, 6, "f"),
    ("Lu", 71, 3, 6, "d"),
    ("Hf", 72, 4, 6, "d"),
    ("W", 74, 6, 6, "d"),
    ("Pb", 82, 14, 6, "p"),
    ("Ra", 88, 2, 7, "s"),
    ("Ac", 89, 3, 7, "f"),
    ("U", 92, 3, 7, "f"),
    ("No", 102, 3, 7, "f"),
    ("Lr", 103, 3, 7, "d"),
    ("Rf", 104, 4, 7, "d"),
    ("Og", 118, 18, 7, "p"),
]


@pytest.mark.parametrize(("name", "z", "column", "row", "letter"), PLACES)
def test_places_in_the_periodic_table(
    name: str, z: int, column: int, row: int, letter: str
) -> None:
    assert (number(name), symbol(z)) == (z, name)
    assert (group(z), period(z), block(z)) == (column, row, letter)


def test_blocks_have_their_sizes() -> None:
    letters = [block(z) for z in range(1, 119)]
    assert {x: letters.count(x) for x in "spdf"} == {"s": 14, "p": 36, "d": 40, "f": 28}


def test_every_group_has_one_element_per_row_but_the_third() -> None:
    sizes = {g: sum(group(z) == g for z in range(1, 119)) for g in range(1, 19)}
    assert sizes == {1: 7, 2: 6, 3: 32, **dict.fromkeys(range(4, 13), 4)} | {
        **dict.fromkeys(range(13, 18), 6),
        18: 7,
    }


@pytest.mark.parametrize("name", ["X", "Xx", "", "iron"])
def test_unknown_symbols_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"'{name}' is no element symbol")):
        number(name)


def test_wrong_case_is_put_right() -> None:
    with pytest.raises(InputError, match="did you mean 'Fe'"):
        number("FE")


def test_a_word_that_yaml_took_for_a_boolean() -> None:
    with pytest.raises(InputError, match="put symbols in quotes"):
        number(False)  # type: ignore[arg-type]


@pytest.mark.parametrize("z", [-1, 0, 119])
@pytest.mark.parametrize("place", [symbol, group, period, block])
def test_numbers_outside_the_table_are_refused(place: object, z: int) -> None:
    with pytest.raises(InputError, match=f"no element number {z} "):
        place(z)  # type: ignore[operator]
