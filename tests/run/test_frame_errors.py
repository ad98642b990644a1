from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import hermnet
import tiny
from hermnet.errors import InputError
from hermnet.run.folder import RunFolder
from hermnet.run.frame_errors import read_frame_errors
from hermnet.training.cost import read_cost


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("frames")
    with pytest.warns(UserWarning, match="few training edges"):
        return hermnet.fit(tiny.recipe(folder, tiny.data(folder / "data"))).folder


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_frames_add_up_to_the_errors(run: RunFolder, split: str):
    errors = json.loads(run.results.read_text())[split]
    frames = read_frame_errors(run.frame_errors)[split]
    assert set(frames) == {"energy", "energy_per_atom", "forces"}
    for target, sums in frames.items():
        absolute, squared, n_values = sums.sum(axis=0)
        assert len(sums) == tiny.N_FRAMES[split]
        assert absolute / n_values == pytest.approx(errors[f"{target}_mae"], rel=1e-6)
        assert np.sqrt(squared / n_values) == pytest.approx(errors[f"{target}_rmse"], rel=1e-6)
    np.testing.assert_array_equal(frames["forces"][:, 2], 18)  # six atoms


def test_what_training_costs_is_written_down(run: RunFolder):
    cost = read_cost(run.cost)
    model = hermnet.load_model(run.best)
    assert cost["parameters"] == sum(p.numel() for p in model.parameters())
    assert cost["steps"] == 2 * 3  # epochs, batches
    assert 0 < cost["seconds_per_step"] < cost["seconds"]
    assert 50 < cost["peak_memory_mib"] < 1e5
    assert (cost["device"], read_cost(run.path / "none")) == ("cpu", {})


@pytest.mark.filterwarnings("ignore:relations with few training edges")
def test_a_resumed_run_adds_to_its_cost(tmp_path: Path):
    data = tiny.data(tmp_path / "data")
    hermnet.fit(tiny.recipe(tmp_path, data, "trainer.max_epochs=1"))
    more = hermnet.fit(tiny.recipe(tmp_path, data, "trainer.max_epochs=3"), resume="last")
    assert read_cost(more.folder.cost)["steps"] == 3 * 3


def test_a_new_run_takes_them_away(run: RunFolder):
    assert run.frame_errors.is_file()
    run.clear()
    assert not run.frame_errors.exists()
    assert not run.cost.exists()
    with pytest.raises(InputError, match="does not hold errors of frames"):
        read_frame_errors(run.frame_errors)
