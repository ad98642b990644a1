from __future__ import annotations

import json
import platform
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

import tiny
from hermnet.checkpoints.provenance import fingerprints, record_start, this_command
from hermnet.datamodule import GraphDataModule
from hermnet.run import commands as runs
from hermnet.run.datasets import load_data

pytestmark = pytest.mark.filterwarnings("ignore:relations with few training edges")


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., GraphDataModule]:
    def load(folder: str = "data", *overrides: str) -> GraphDataModule:
        return load_data(tiny.recipe(tmp_path, tiny.data(tmp_path / folder), *overrides))

    return load


def test_fingerprints_tell_frames_not_places(load: Callable[..., GraphDataModule], tmp_path: Path):
    words = fingerprints(load())
    assert set(words) == {"train", "val", "test"}
    assert len(set(words.values())) == 3
    assert fingerprints(load("elsewhere")) == words
    tiny.write(tmp_path / "data" / "val.xyz", [tiny.methanol(8), tiny.methanol(99)])
    changed = fingerprints(load_data(tiny.recipe(tmp_path, tmp_path / "data")))
    assert {split for split in words if words[split] != changed[split]} == {"val"}
    assert fingerprints(load("data", "model.cutoff=2.5"))["train"] != words["train"]


@pytest.mark.slow
def test_each_start_is_recorded(load: Callable[..., GraphDataModule], tmp_path: Path):
    recipe = tiny.recipe(tmp_path, tiny.data(tmp_path / "data"), "trainer.logger=false")
    folder = runs.fit(recipe).folder
    longer = tiny.recipe(
        tmp_path, tmp_path / "data", "trainer.logger=false", "trainer.max_epochs=3"
    )
    runs.fit(longer, resume="last")
    first, second = json.loads(folder.starts.read_text())["starts"]
    assert first["resumed_from"] is None
    assert second["resumed_from"] == {"path": str(folder.last), "step": 6}
    assert first["command"] == this_command()
    assert first["versions"]["python"] == platform.python_version()
    assert first["versions"]["torch"] == version("torch")
    words = fingerprints(load())
    assert first["data"]["train"] == {"n_frames": 8, "fingerprint": words["train"]}
    runs.fit(recipe, overwrite=True)
    assert len(json.loads(folder.starts.read_text())["starts"]) == 1


def test_a_damaged_record_begins_anew(load: Callable[..., GraphDataModule], tmp_path: Path):
    path = tmp_path / "starts.json"
    path.write_text("{")
    record_start(path, load(), ["hermnet", "fit"], None)
    assert [start["command"] for start in json.loads(path.read_text())["starts"]] == [
        ["hermnet", "fit"]
    ]
