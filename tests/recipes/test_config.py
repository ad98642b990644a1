from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from hermnet.errors import InputErrors
from hermnet.model_options import ModelOptions
from hermnet.recipes.config import Recipe, resolve
from hermnet.recipes.source import shipped
from hermnet.subnetwork import SUBNETS

PLAIN = (type(None), bool, int, float, str)


def messages(*overrides: str, source: str = "quickstart") -> list[str]:
    with pytest.raises(InputErrors) as caught:
        resolve(source, overrides)
    return caught.value.messages


def is_plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(type(key) is str and is_plain(entry) for key, entry in value.items())
    if isinstance(value, list):
        return all(is_plain(entry) for entry in value)
    return type(value) in PLAIN


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], str]:
    def make(text: str) -> str:
        path = tmp_path / "own.yaml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return make


@pytest.mark.parametrize("name", sorted(shipped()))
def test_every_shipped_recipe_resolves_and_is_read_back(name: str, write: Callable[[str], str]):
    recipe = resolve(name)
    assert recipe.name == name
    assert is_plain(recipe.to_dict())
    assert resolve(write(recipe.to_yaml())) == recipe
    assert Recipe.from_dict(recipe.to_dict()) == recipe


def test_the_smallest_recipe(write: Callable[[str], str]):
    recipe = resolve(write("data: {name: rmd17}"))
    assert recipe.name == "own"
    assert recipe.model == replace(ModelOptions(), subnet={"name": "painn", "epsilon": 0.01})
    assert recipe.trainer == {}
    assert recipe.data["molecule"] == "ethanol"


def test_overrides_are_converted_to_the_options_types():
    recipe = resolve(
        "quickstart",
        ["model.cutoff=6", "data.split='2'", "model.zbl=yes", "training.forces_weight=1e2"],
    )
    assert isinstance(recipe.model.cutoff, float)
    assert recipe.model.cutoff == 6
    assert recipe.data["split"] == 2
    assert recipe.model.zbl is True
    assert recipe.training.forces_weight == 100.0


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    class Toy:
        def __init__(self, shape: object, width: int = 8, act: Literal["silu", "tanh"] = "silu"):
            self.shape, self.width, self.act = shape, width, act

    monkeypatch.setitem(SUBNETS._classes, "toy", Toy)  # type: ignore[arg-type]


@pytest.mark.usefixtures("toy")
def test_sub_networks_are_written_out_with_all_their_options():
    recipe = resolve("quickstart", ["model.subnet=toy"])
    assert recipe.model.subnet == {"name": "toy", "width": 8, "act": "silu"}
    recipe = resolve("quickstart", ["model.subnet={default: painn, O: {name: toy, width: '4'}}"])
    assert recipe.model.subnet == {
        "default": {"name": "painn", "epsilon": 0.01},
        "O": {"name": "toy", "width": 4, "act": "silu"},
    }


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize(
    ("subnet", "message"),
    [
        ("toi", "model.subnet.name: unknown sub-network 'toi'; did you mean 'toy'?"),
        ("{name: toy, widht: 3}", "model.subnet.widht: unknown option; did you mean 'width'?"),
        ("{name: toy, shape: 3}", "model.subnet.shape: unknown option"),
        ("{name: toy, act: tan}", "model.subnet.act: unknown 'tan'; did you mean 'tanh'?"),
        ("{default: toy, O: tony}", "model.subnet.O.name: unknown sub-network 'tony'"),
        ("{default: toy, O: {default: toy}}", "model.subnet.O: expected a sub-network's name"),
        ("{O: toy}", "model.subnet: expected a sub-network's name, or 'name' with its options, or"),
        ("[toy]", "model.subnet: expected a sub-network's name"),
        ("null", "model.subnet: expected a sub-network's name"),
    ],
)
def test_bad_sub_networks(subnet: str, message: str):
    (found,) = messages(f"model.subnet={subnet}")
    assert found.startswith(message)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("modle.cutoff=5", "modle: unknown section; did you mean 'model'?"),
        ("model=painn", "model: expected a mapping of options, got 'painn'"),
        ("model.cutof=5", "model.cutof: unknown option; did you mean 'cutoff'?"),
        ("model.n_channels=thirty", "model.n_channels: expected int, got 'thirty'"),
        ("model.n_layers=true", "model.n_layers: expected int, got True"),
        ("model.relations=vertx", "model.relations: unknown 'vertx'; did you mean 'vertex'?"),
        ("model.sharing=basis:0", "model.sharing: "),
        ("model.classes=elements", "model.classes: unknown 'elements'; did you mean 'element'?"),
        ("model.radial=besel", "model.radial: unknown radial basis 'besel'; did you mean 'bessel'"),
        ("model.envelope=cos", "model.envelope: unknown envelope 'cos'; did you mean 'cosine'?"),
        ("data.name=rmd18", "data.name: unknown data module 'rmd18'; did you mean 'rmd17'?"),
        ("data.moleclue=aspirin", "data.moleclue: unknown option; did you mean 'molecule'?"),
        ("data.split=7", "data.split must be 1 to 5"),
        ("data={}", "data.name: must be given; one of "),
        ("data={name: extxyz}", "data.train: must be given (str or list): file, pattern or list"),
        ("training.energy_weigth=1", "training.energy_weigth: unknown option; did you mean"),
        ("training.optimizer=os.system", "training.optimizer.class_path: 'os.system' is not"),
        ("training.optimizer=torch.optim.Admw", "training.optimizer.class_path: unknown optimizer"),
        ("training.optimizer.lrr=1", "training.optimizer.lrr: unknown option; did you mean 'lr'?"),
        ("training.optimizer.lr=fast", "training.optimizer.lr: expected float or Tensor, got"),
        (
            "training.optimizer.lr=-1",
            "training.optimizer: torch.optim.AdamW: Invalid learning rate",
        ),
        (
            "training.scheduler={class_path: torch.optim.lr_scheduler.LinearLR, total_iters: x}",
            "training.scheduler.total_iters: expected int, got 'x'",
        ),
        (
            "training.scheduler={class_path: torch.optim.lr_scheduler.OneCycleLR, max_lr: 1}",
            "training.scheduler: torch.optim.lr_scheduler.OneCycleLR: You must define either",
        ),
        ("training.optimizer={lr: 1}", "training.optimizer: expected a mapping with 'class_path'"),
        (
            "training.scheduler=torch.optim.lr_scheduler.StepLR",
            "training.scheduler.step_size: must be given (int)",
        ),
        ("trainer.max_epoch=3", "trainer.max_epoch: unknown option; did you mean 'max_epochs'?"),
        ("trainer.max_epochs=[3]", "trainer.max_epochs: expected int or null, got [3]"),
        ("trainer.devices=[a]", "trainer.devices[0]: expected int, got 'a'"),
        (
            "trainer.callbacks=[{class_path: pytorch_lightning.callbacks.EarlyStoping}]",
            "trainer.callbacks[0].class_path: unknown callback",
        ),
        (
            "trainer.callbacks=[{class_path: pytorch_lightning.callbacks.EarlyStopping}]",
            "trainer.callbacks[0].monitor: must be given (str)",
        ),
        (
            "trainer.precision=64-true",
            "trainer.precision: '64-true' is not one of 32-true and bf16-mixed; for double",
        ),
        ("trainer.logger=[3]", "trainer.logger[0]: expected a mapping with 'class_path', got 3"),
    ],
)
def test_one_line_with_the_dotted_path_for_each_mistake(override: str, message: str):
    # A constant scheduler: the recipe's own refers to trainer.max_epochs.
    (found,) = messages("training.scheduler=null", override)
    assert found.startswith(message)


def test_all_errors_at_once():
    found = messages(
        "modle.x=1",
        "data.splt=2",
        "model.cutof=3",
        "model.relations=vertx",
        "model.radial=besel",
        "training.optimizer.lr=fast",
        "trainer.max_epoch=3",
    )
    paths = [message.split(":")[0] for message in found]
    assert paths == [
        "modle",
        "data.splt",
        "model.cutof",
        "model.relations",
        "model.radial",
        "training.optimizer.lr",
        "trainer.max_epoch",
    ]


def test_callbacks_and_loggers_of_lightning_are_accepted():
    callbacks = (
        "[{class_path: pytorch_lightning.callbacks.EarlyStopping, monitor: val, patience: '3'}]"
    )
    recipe = resolve("quickstart", [f"trainer.callbacks={callbacks}", "trainer.logger=false"])
    assert recipe.trainer["callbacks"] == [
        {
            "class_path": "pytorch_lightning.callbacks.EarlyStopping",
            "monitor": "val",
            "patience": 3,
        }
    ]
    assert recipe.trainer["logger"] is False


def test_tuples_are_stored_as_lists_and_come_back():
    recipe = resolve("quickstart", ["training.optimizer.betas=[0.8, 0.9]"])
    stored = recipe.to_dict()
    assert is_plain(stored)
    assert Recipe.from_dict(stored) == recipe


def test_a_stored_recipe_of_an_unknown_kind_is_refused():
    stored = resolve("quickstart").to_dict()
    stored["model"]["depth"] = 3
    del stored["model"]["cutoff"]
    with pytest.raises(InputErrors, match=r"model\.depth: unknown option"):
        Recipe.from_dict(stored)
    del stored["model"], stored["name"]
    with pytest.raises(InputErrors, match="name: missing in the stored recipe\nmodel: missing"):
        Recipe.from_dict(stored)


def test_a_stored_recipe_needs_no_data_module():
    stored = resolve("quickstart").to_dict()
    stored["data"] = {"name": "of_a_package_that_is_gone", "depth": 3}
    assert Recipe.from_dict(stored).data == stored["data"]
