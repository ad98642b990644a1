from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, Optional

import pytest
import torch

from hermnet.recipes.convert import MismatchError, convert, describe


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (3, int, 3),
        ("3", int, 3),
        (3, float, 3.0),
        ("1e-3", float, 1e-3),
        (True, bool, True),
        ("off", bool, False),
        (1, bool, True),
        (7, str, "7"),
        ("7", str, "7"),
        ("runs", Path, Path("runs")),
        (None, None, None),
        (None, int | None, None),
        ("4", int | None, 4),
        ("4", int | str, "4"),
        (4, float | str, 4.0),
        (0.5, int | float, 0.5),
        (True, int | bool, True),
        ([1], str | list[int], [1]),
        ("pair", Literal["none", "pair"], "pair"),
        (32, Literal["32", "64"], "32"),
        ("warn", bool | Literal["warn"] | None, "warn"),
        (["1", 2], list[int], [1, 2]),
        ([1, 2], Sequence[float], [1.0, 2.0]),
        ([0.9, 1], tuple[float, float], (0.9, 1.0)),
        ([1, 2, 3], tuple[int, ...], (1, 2, 3)),
        ({"H": "-13.6"}, dict[str, float], {"H": -13.6}),
        ({"H": [1]}, dict, {"H": [1]}),
        ({"a": 1}, Any, {"a": 1}),
        (0.1, float | torch.Tensor, 0.1),
    ],
)
def test_a_fitting_value_is_converted(value: object, kind: object, expected: object):
    found = convert(value, kind)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        ("thirty", int, "expected int, got 'thirty'"),
        (True, int, "expected int, got True"),
        (3.0, int, "expected int, got 3.0"),
        (float("inf"), int, "expected int, got inf"),
        ([3], int, "expected int, got [3]"),
        (False, float, "expected float, got False"),
        ("fast", float, "expected float, got 'fast'"),
        (2, bool, "expected bool, got 2"),
        ("maybe", bool, "expected bool, got 'maybe'"),
        (None, float, "expected float, got null"),
        (False, str, "expected str, got False; put text in quotes"),
        ({"a": 1}, str, "expected str, got {'a': 1}"),
        ("x", int | None, "expected int or null, got 'x'"),
        ("vertx", Literal["none", "vertex"], "unknown 'vertx'; did you mean 'vertex'?"),
        ("vertx", Optional[Literal["none", "vertex"]], "unknown 'vertx'; did you mean 'vertex'?"),  # noqa: UP045
        (True, Literal[1, 2], "expected 1 or 2, got True"),
        ("abc", list[str], "expected list of str, got 'abc'"),
        ([1], tuple[int, int], "expected [int, int], got [1]"),
        ([1, 2], dict[str, int], "expected mapping of str to int, got [1, 2]"),
        ("adam", torch.Tensor, "expected Tensor, which a recipe cannot give"),
    ],
)
def test_an_unsuitable_value_is_refused(value: object, kind: object, message: str):
    with pytest.raises(MismatchError, match=re.escape(message)):
        convert(value, kind)


@pytest.mark.parametrize(
    ("value", "kind", "where"),
    [
        ([1, "x"], list[int], "[1]"),
        ([1, "x"], str | list[int], "[1]"),
        ({"O": {"n": "x"}}, dict[str, dict[str, int]], ".O.n"),
        ({"O": [1, None]}, dict[str, list[int]] | None, ".O[1]"),
        ([0.9, "x"], tuple[float | torch.Tensor, float | torch.Tensor], "[1]"),
    ],
)
def test_a_message_points_into_the_container(value: object, kind: object, where: str):
    with pytest.raises(MismatchError) as caught:
        convert(value, kind)
    assert caught.value.where == where


def test_annotations_in_words():
    assert describe(int | None) == "int or null"
    assert describe(dict[str, list[float]]) == "mapping of str to list of float"
    assert describe(tuple[int, ...]) == "list of int"
    assert describe(Iterable[str]) == "list of str"
    assert describe(Literal["a", "b"]) == "'a' or 'b'"
    assert describe(Any) == "anything"
