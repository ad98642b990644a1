from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from hermnet.errors import InputError, InputErrors
from hermnet.recipes.source import read, shipped

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def make(text: str, name: str = "own.yaml") -> str:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    return make


def test_a_shipped_recipe_is_found_by_name():
    assert "quickstart" in shipped()
    assert read("quickstart")["name"] == "quickstart"


def test_a_file_is_found_by_path_and_named_after_it(write: Write):
    assert read(write("model: {cutoff: 4}")) == {"name": "own", "model": {"cutoff": 4}}
    assert read(write("name: mine"))["name"] == "mine"


def test_an_override_reaches_what_interpolates_it(write: Write):
    path = write("model: {cutoff: 4.5}\ndata: {skin: '${model.cutoff}'}")
    tree = read(path, ["model.cutoff=6"])
    assert tree["data"] == {"skin": 6}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("3", 3),
        ("true", True),
        ("null", None),
        ("", None),
        ("none", "none"),
        ("[1, 2]", [1, 2]),
        ("{a: 1}", {"a": 1}),
        ("a=b", "a=b"),
        ("'3'", "3"),
    ],
)
def test_the_value_of_an_override_is_yaml(write: Write, text: str, value: object):
    assert read(write("{}"), [f"model.it={text}"])["model"]["it"] == value


def test_a_later_override_wins_and_overrides_reach_into_lists(write: Write):
    path = write("trainer: {callbacks: [{patience: 1}, {patience: 2}]}")
    tree = read(path, ["trainer.callbacks.1.patience=5", "trainer.a=1", "trainer.a=2"])
    assert tree["trainer"] == {"callbacks": [{"patience": 1}, {"patience": 5}], "a": 2}


def test_one_word_stands_for_a_mapping_in_files_and_overrides(write: Write):
    path = write("model: {subnet: painn}\ntraining: {optimizer: torch.optim.SGD}")
    assert read(path)["model"] == {"subnet": {"name": "painn"}}
    assert read(path)["training"] == {"optimizer": {"class_path": "torch.optim.SGD"}}
    tree = read(path, ["model.subnet=schnet", "model.subnet.depth=2", "training.optimizer.lr=1"])
    assert tree["model"] == {"subnet": {"name": "schnet", "depth": 2}}
    assert tree["training"]["optimizer"] == {"class_path": "torch.optim.SGD", "lr": 1}
    tree = read(path, ["model.subnet={default: painn, H-O: schnet}", "model.subnet.H-O.depth=2"])
    assert tree["model"] == {
        "subnet": {"default": {"name": "painn"}, "H-O": {"name": "schnet", "depth": 2}}
    }


def test_a_recipe_builds_on_another(write: Write):
    write("name: below\nmodel: {subnet: {name: painn, depth: 2}, cutoff: 4}", "below.yaml")
    write("base: below.yaml\nmodel: {cutoff: 5}", "middle.yaml")
    tree = read(write("base: middle.yaml\nmodel: {subnet: {depth: 3}}"))
    assert tree == {
        "name": "own",
        "model": {"subnet": {"name": "painn", "depth": 3}, "cutoff": 5},
    }


@pytest.mark.parametrize("subnet", ["schnet", "{default: schnet}"])
def test_another_class_does_not_inherit_options(write: Write, subnet: str):
    write("model: {subnet: {name: painn, depth: 2}}", "below.yaml")
    tree = read(write(f"base: below.yaml\nmodel: {{subnet: {subnet}}}"))
    assert "depth" not in tree["model"]["subnet"]
    assert "painn" not in str(tree)


def test_a_recipe_cannot_build_on_itself(write: Write):
    write("base: own.yaml", "other.yaml")
    with pytest.raises(InputError, match="based on itself"):
        read(write("base: other.yaml"))


def test_an_unknown_recipe():
    with pytest.raises(InputError, match="unknown recipe 'quikstart'; did you mean 'quickstart'"):
        read("quikstart")


def test_a_missing_file():
    with pytest.raises(InputError, match=r"there is no recipe file 'nowhere/own\.yaml'"):
        read("nowhere/own.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model:\n  cutoff: [4\n", "own.yaml, line 3: "),
        ("model:\n  cutoff: 4\n cutoff: 5\n", "own.yaml, line 3: "),
        ("model: {}\nmodel: {}\n", "own.yaml, line 2: found duplicate key"),
        ("- model\n", "own.yaml: a recipe is a mapping of sections, this is a list"),
        ("model: !!python/object/apply:os.system [ls]\n", "own.yaml, line 1: could not determine"),
    ],
)
def test_a_file_that_is_no_recipe(write: Write, text: str, message: str):
    with pytest.raises(InputError, match=re.escape(message)):
        read(write(text))


def test_a_file_that_is_no_text(tmp_path: Path):
    path = tmp_path / "own.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read"):
        read(str(path))


def test_all_bad_overrides_at_once():
    with pytest.raises(InputErrors) as caught:
        read(
            "quickstart", ["model.cutoff", "=3", "a..b=1", "a b=1", "model.cutoff=[1", "name.x.y=1"]
        )
    assert len(caught.value.messages) == 5
    assert caught.value.messages[0] == (
        "override 'model.cutoff': write section.option=value, without spaces"
    )
    assert "override 'model.cutoff=[1': the value is not YAML" in caught.value.messages[4]


@pytest.mark.parametrize("index", ["2", "x", "-1"])
def test_an_override_beyond_a_list(write: Write, index: str):
    path = write("trainer: {callbacks: [{patience: 1}]}")
    with pytest.raises(InputErrors, match=f"'{index}' is no index of a list of 1"):
        read(path, [f"trainer.callbacks.{index}.patience=5"])


def test_an_override_below_an_entry_that_has_no_options(write: Write):
    path = write("trainer: {devices: [0]}")
    with pytest.raises(InputErrors, match=r"trainer\.devices\.0 is 0 and has no options"):
        read(path, ["trainer.devices.0.x=1"])


def test_all_interpolations_without_a_target(write: Write):
    path = write("model: {a: '${model.no}', b: ['${nowhere}', '${oops:1}'], c: '???'}")
    with pytest.raises(InputErrors) as caught:
        read(path)
    assert caught.value.messages == [
        "model.a: Interpolation key 'model.no' not found",
        "model.b.0: Interpolation key 'nowhere' not found",
        "model.b.1: Unsupported interpolation type oops",
        "model.c: must be given (the recipe leaves it open)",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: {a: '${model}'}", "model.a: Interpolation to parent node"),
        ("model: {a: '${model.a}'}", "model.a: Recursive interpolation"),
        ("model: {x: '${data}'}\ndata: {y: '${model}'}", "an interpolation contains itself"),
    ],
)
def test_an_interpolation_of_itself(write: Write, text: str, message: str):
    with pytest.raises(InputError, match=message):
        read(write(text))


def test_an_interpolation_that_is_not_closed(write: Write):
    with pytest.raises(InputError, match=r"own\.yaml: cannot be read: .*'\$\{model\.b'"):
        read(write("model: {a: '${model.b'}"))
