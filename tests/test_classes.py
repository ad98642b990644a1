from __future__ import annotations

import pytest

from hermnet.classes import element_classes
from hermnet.errors import InputError

ELEMENTS = (8, 1, 3, 26, 16, 58)  # O, H, Li, Fe, S, Ce


@pytest.mark.parametrize(
    ("spec", "names", "of_type"),
    [
        ("element", ("O", "H", "Li", "Fe", "S", "Ce"), (0, 1, 2, 3, 4, 5)),
        ("group", ("group 16", "group 1", "group 8", "group 3"), (0, 1, 1, 2, 0, 3)),
        (
            "period",
            ("period 2", "period 1", "period 4", "period 3", "period 6"),
            (0, 1, 0, 2, 3, 4),
        ),
        ("block", ("p block", "s block", "d block", "f block"), (0, 1, 1, 2, 0, 3)),
        (
            {"gas": ["H", "O", "N"], "solid": ["S", "Ce", "Fe", "Li"]},
            ("gas", "solid"),
            (0, 0, 1, 1, 1, 1),
        ),
    ],
    ids=["element", "group", "period", "block", "mapping"],
)
def test_classes_in_use_come_in_the_order_of_the_elements(spec, names, of_type):
    classes = element_classes(spec, ELEMENTS)
    assert (classes.names, classes.of_type) == (names, of_type)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("grup", r"model.classes: unknown 'grup'; did you mean 'group'.*or a mapping from class"),
        ({"a": ["H", "O"], "b": ["Li"]}, r"model.classes: no class for Fe, S, Ce"),
        ({"a": ["H", "O"], "b": ["O"]}, r"model.classes: O is in both 'a' and 'b'"),
        ({"a": ["H", "o"]}, r"'o' is no element symbol; did you mean 'O'\?"),
    ],
)
def test_what_cannot_be_used_is_refused(spec, message: str):
    with pytest.raises(InputError, match=message):
        element_classes(spec, ELEMENTS)
