from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from hermnet.recipes.schema import Option, check_options, options_of, summary_of, with_defaults

if TYPE_CHECKING:
    from elsewhere import Unknown


@dataclass(frozen=True)
class Model:
    """A section.

    Attributes:
        cutoff: distance in A
            over two lines.
        n_layers: number of layers.
    """

    cutoff: float
    n_layers: int = 3
    weights: dict[str, float] = field(default_factory=dict)


class Base:
    """What is common.

    Args:
        batch_size: structures per step.
    """

    def __init__(self, *, batch_size: int = 10) -> None:
        self.batch_size = batch_size


class Files(Base):
    """Frames of a file.

    More about them.

    Args:
        path: the file.
        key (str, optional): name of the energy:
            `energy` by default.

    Raises:
        InputError: never.
    """

    def __init__(self, path: str, key: str | None = None, **others: Any) -> None:
        super().__init__(**others)


class Open:
    def __init__(self, name: str = "x", **others: Any) -> None:
        self.others = others


class HalfKnown:
    def __init__(self, what: Unknown, n: int = 1) -> None:
        self.what, self.n = what, n


def by_name(options: list[Option]) -> dict[str, Option]:
    return {option.name: option for option in options}


def test_options_of_a_dataclass():
    options = by_name(options_of(Model))
    assert list(options) == ["cutoff", "n_layers", "weights"]
    assert options["cutoff"].required
    assert options["cutoff"].prose == "distance in A over two lines."
    assert options["n_layers"] == Option("n_layers", int, 3, "number of layers.")
    assert options["weights"].default == {}


def test_options_of_a_class_go_on_in_the_parent_that_takes_the_keywords():
    options = by_name(options_of(Files))
    assert list(options) == ["path", "key", "batch_size"]
    assert options["key"].prose == "name of the energy: `energy` by default."
    assert options["batch_size"] == Option("batch_size", int, 10, "structures per step.")
    assert str(options["path"]) == "path: str"
    assert str(options["key"]) == "key: str or null = None"


def test_options_of_a_function_without_those_that_the_program_fills():
    def step(graph: object, lr: float = 0.1) -> None:
        """Go.

        Args:
            lr: the rate.
        """

    assert options_of(step, skip=("graph",)) == [Option("lr", float, 0.1, "the rate.")]


def test_a_name_that_only_a_type_checker_knows_leaves_the_other_types():
    options = by_name(options_of(HalfKnown))
    assert options["what"].type is Any
    assert options["n"].type is int


def test_values_are_converted():
    values, errors = check_options(Model, {"cutoff": "5", "weights": {"H": 1}}, "model")
    assert errors == []
    assert values == {"cutoff": 5.0, "weights": {"H": 1.0}}


def test_an_unknown_key_with_its_nearest_name():
    values, errors = check_options(Model, {"cutof": 5, "cutoff": 5}, "model")
    assert values == {"cutoff": 5.0}
    assert errors == [
        "model.cutof: unknown option; did you mean 'cutoff'? (known: cutoff, n_layers, weights)"
    ]


def test_a_wrong_type():
    _, errors = check_options(Model, {"cutoff": 5, "n_layers": "thirty"}, "model")
    assert errors == ["model.n_layers: expected int, got 'thirty'"]


def test_a_wrong_type_inside_a_mapping():
    _, errors = check_options(Model, {"cutoff": 5, "weights": {"H": "x"}}, "model")
    assert errors == ["model.weights.H: expected float, got 'x'"]


def test_a_missing_option_with_what_it_is():
    _, errors = check_options(Model, {}, "model")
    assert errors == ["model.cutoff: must be given (float): distance in A over two lines."]


def test_all_errors_at_once():
    _, errors = check_options(Model, {"n_layers": True, "n_layer": 1, 3: 4}, "model")
    assert [error.split(":")[0] for error in errors] == [
        "model.n_layers",
        "model.n_layer",
        "model.3",
        "model.cutoff",
    ]


def test_a_class_that_takes_any_keyword_accepts_any():
    assert check_options(Open, {"name": 1, "entity": "lab"}, "logger") == (
        {"name": "1", "entity": "lab"},
        [],
    )


def test_defaults_are_filled_in_and_not_shared():
    first = with_defaults(Model, {"cutoff": 4.0})
    assert first == {"cutoff": 4.0, "n_layers": 3, "weights": {}}
    values = with_defaults(Files, {"path": "a.xyz"})
    assert values == {"path": "a.xyz", "key": None, "batch_size": 10}


def test_the_summary_is_the_first_line():
    assert summary_of(Files) == "Frames of a file."
    assert summary_of(Open) == ""


@pytest.mark.parametrize("name", ["params", "lr", "betas", "weight_decay"])
def test_a_class_of_torch_is_read_too(name: str):
    from torch.optim import AdamW

    assert name in by_name(options_of(AdamW))
