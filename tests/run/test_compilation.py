"""What `training.compile: auto` becomes, for new runs and for those that go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

import tiny
from hermnet.datamodule import GraphDataModule
from hermnet.recipes.config import Recipe
from hermnet.run.compilation import decided


class Facts:
    n_edges = np.full(1000, 72)


class Data:
    """A thousand ethanols in batches of ten."""

    batch_size, max_edges = 10, None

    def facts(self, split: str) -> Facts:
        return Facts()

    def train_dataloader(self) -> list[None]:
        return [None] * 100


@pytest.fixture(autouse=True)
def _compiler(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")


def decision(recipe: Recipe, before: dict[str, Any] | None = None) -> Any:
    data = cast(GraphDataModule, Data())
    return decided(recipe, data, before).training.compile


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["trainer.max_epochs=50"], False),
        (["trainer.max_epochs=50000"], True),
        (["trainer.max_epochs=50000", "trainer.max_steps=100"], False),
        (["trainer.max_epochs=-1", "training.compile=false"], False),
        (["trainer.max_epochs=1", "training.compile=true"], True),
        (["trainer.max_epochs=50000", "trainer.fast_dev_run=true"], False),
    ],
)
def test_length_decides(overrides: list[str], expected: bool, tmp_path: Path):
    recipe = tiny.recipe(tmp_path, tmp_path / "data.xyz", *overrides)
    assert decision(recipe) is expected


def test_a_run_that_goes_on_does_as_before(tmp_path: Path):
    recipe = tiny.recipe(tmp_path, tmp_path / "data.xyz", "trainer.max_epochs=50000")
    assert decision(recipe, {"training": {"compile": False}}) is False
    assert decision(recipe, {"training": {"compile": "auto"}}) is True
    assert decision(recipe, {}) is True
