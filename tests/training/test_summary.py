from __future__ import annotations

from pathlib import Path

import pytest

import properties
import tiny
from hermnet.checkpoints.checkpoint import load_potential
from hermnet.checks import random_potential
from hermnet.model_options import ModelOptions
from hermnet.network import Network
from hermnet.run import commands as runs
from hermnet.training.summary import parameters

pytestmark = pytest.mark.filterwarnings("ignore:relations with few training edges")
OPTIONS = ModelOptions(n_channels=4, n_layers=2, n_radial=4, relations="pair", cutoff=3.0)


def count(model: Network) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    "model", [random_potential(OPTIONS, (1, 8)), properties.random_model("vector")]
)
def test_the_parts_are_the_whole(model: Network):
    found = parameters(model)
    assert sum(found.values()) == count(model)
    assert found["embedding"] == sum(p.numel() for p in model.embedding.parameters())
    assert all(found.values())


def test_what_a_run_says_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    recipe = tiny.recipe(tmp_path, tiny.data(tmp_path / "data"), "trainer.logger=false")
    run = runs.fit(recipe)
    lines = capsys.readouterr().out.splitlines()
    model = load_potential(run.folder.best)
    (start,) = [k for k, line in enumerate(lines) if line.startswith("parameters: ")]
    assert lines[start].startswith(f"parameters: {count(model):,} (embedding ")
    assert lines[start + 1] == (
        f"frames: 8 train, 2 val, 2 test; 3 batches per epoch; "
        f"mean neighbors {model.mean_neighbors:.1f}"
    )
    assert lines[start + 2] == "device: cpu; float32; not compiled"
