from __future__ import annotations

from typing import Any

import pytest

from hermnet.ablation.grid import Grid, from_section, from_texts, overridden, seeds_of, value_label
from hermnet.errors import InputError

AXES = {"model.subnet": ["painn", "schnet"], "model.relations": ["none", "vertex"]}


def test_values_on_the_command_line_are_yaml():
    texts = ["model.sharing=independent,basis:4", "model.subnet=painn,{default: schnet, O: painn}"]
    assert from_texts([*texts, "training.compile=true,false", "data.batch_size=2,5"]) == {
        "model.sharing": ["independent", "basis:4"],
        "model.subnet": ["painn", {"default": "schnet", "O": "painn"}],
        "training.compile": [True, False],
        "data.batch_size": [2, 5],
    }


@pytest.mark.parametrize("text", ["model.subnet", "subnet=painn", "=painn", "model.subnet ="])
def test_another_text_is_refused(text: str):
    with pytest.raises(InputError, match=r"write section.option=value,value"):
        from_texts([text])


def test_values_that_are_no_yaml_are_refused():
    with pytest.raises(InputError, match=r"the values are not YAML"):
        from_texts(["model.subnet={painn"])


def test_a_section_tells_axes_from_settings():
    section = {**AXES, "model.cutoff": 4.0, "seeds": 3, "equal": "time", "minutes": 5}
    found = from_section(section)
    assert found["axes"] == {**AXES, "model.cutoff": [4.0]}
    grid = Grid(**found)
    assert (grid.seeds, grid.equal, grid.minutes) == ((0, 1, 2), "time", 5)


def test_a_strange_setting_is_refused_with_the_nearest():
    with pytest.raises(InputError, match=r"'seed' is neither .* did you mean 'seeds'"):
        from_section({**AXES, "seed": 3})


def test_what_is_given_goes_before_the_section():
    section = from_section({**AXES, "equal": "time", "minutes": 5, "seeds": [4, 7]})
    grid = overridden(section, {"model.relations": ["pair", "none"]}, equal="steps", seeds=None)
    assert grid.axes == {**AXES, "model.relations": ["pair", "none"]}
    assert (grid.equal, grid.minutes, grid.seeds) == ("steps", None, (4, 7))


def test_a_baseline_that_is_no_longer_there_is_the_first_value():
    section = from_section({**AXES, "baseline": {"model.relations": "vertex"}})
    assert Grid(**section).baseline_variant()["model.relations"] == "vertex"
    changed = overridden(section, {"model.relations": ["pair", "none"]})
    assert changed.baseline_variant()["model.relations"] == "pair"


def test_variants_are_the_product():
    labels = [Grid(AXES).label(values) for values in Grid(AXES).variants()]
    assert labels == ["painn-none", "painn-vertex", "schnet-none", "schnet-vertex"]


@pytest.mark.parametrize(
    ("value", "label"),
    [
        ("painn", "painn"),
        (3, "n_layers=3"),
        (None, "n_layers=null"),
        ({"name": "painn"}, "painn"),
        ({"name": "nequip", "lmax": 2}, "nequip(lmax=2)"),
        ({"default": "schnet", "O": {"name": "painn"}}, "default=schnet,O=painn"),
    ],
)
def test_the_names_of_values(value: Any, label: str):
    assert value_label("model.n_layers", value) == label


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"axes": {}}, "the grid is empty: give --grid"),
        ({"axes": {"model.subnet": []}}, "the grid is empty for model.subnet"),
        ({"axes": {"model.subnet": ["painn", "painn"]}}, "model.subnet has the value painn twice"),
        ({"axes": {"training.seed": [1, 2]}}, "training.seed is no axis; give --seeds"),
        ({"equal": "parameter"}, "did you mean 'parameters'"),
        ({"minutes": 3}, "minutes is a positive number and holds for equal: time"),
        ({"equal": "steps", "steps": 0}, "steps is a positive number"),
        ({"seeds": (1, 1)}, "a list of different ones"),
        ({"baseline": {"model.subnett": "painn"}}, "no axis 'model.subnett'; did you mean 'model."),
        ({"baseline": {"model.subnet": "pain"}}, "model.subnet=pain; did you mean 'painn'"),
    ],
)
def test_a_grid_that_makes_no_sense(change: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        Grid(**{"axes": AXES, **change})


@pytest.mark.parametrize("given", [0, -1, True, "3", [], ["a"], 1.5])
def test_strange_seeds_are_refused(given: Any):
    with pytest.raises(InputError, match=r"a number of seeds, or a list"):
        seeds_of(given)
