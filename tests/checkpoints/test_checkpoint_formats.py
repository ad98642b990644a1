"""One checkpoint of each format that has ever been, of the run that `tiny.py` describes.

They were written by the HermNet of their time; to make that of a new format, copy ``last.ckpt`` of
such a run with ``model.n_radial=2 model.n_channels=2 model.dtype=float64`` here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tiny
from hermnet.checkpoints.checkpoint import load_potential, read_checkpoint
from hermnet.checkpoints.formats import FORMAT, upgrade
from hermnet.checks import predict
from hermnet.errors import InputError
from hermnet.run import commands as runs
from same import raw

FOLDER = Path(__file__).parent / "reference"
FORMATS = range(1, FORMAT + 1)
# energies in eV of the first training frame, and forces in eV/A, the very first component
ENERGY = {1: 3.9343705223335346, 2: 3.9343705223335346, 3: 3.9351548132295093}
FORCE = {1: 0.00036098727874640595, 2: 0.00036098727874640595, 3: 0.00041835889862165736}

pytestmark = pytest.mark.filterwarnings("ignore:relations with few training edges")


def path(version: int) -> Path:
    return FOLDER / f"format_{version}.ckpt"


def test_there_is_one_of_each_and_it_is_small():
    assert sorted(FOLDER.iterdir()) == [path(version) for version in FORMATS]
    assert all(path(version).stat().st_size < 60_000 for version in FORMATS)


@pytest.mark.parametrize("version", FORMATS)
def test_the_model_in_it_is_what_it_was(version: int):
    stored = read_checkpoint(path(version))
    assert stored.format == version
    assert (stored.epoch, stored.step, stored.position["epoch"]) == (1, 6, 2)
    potential = load_potential(path(version))
    assert potential.elements == (1, 6, 8)
    found = predict(potential, tiny.methanol(0))
    assert found.energy.item() == pytest.approx(ENERGY[version], rel=1e-12)
    assert found.forces[0, 0].item() == pytest.approx(FORCE[version], rel=1e-9)


@pytest.mark.parametrize("version", FORMATS)
def test_training_goes_on_from_it(tmp_path: Path, version: int):
    data = tiny.data(tmp_path / "data")
    options = ["model.radial=bessel", "model.n_radial=2", "model.n_channels=2"]
    options.append("model.dtype=float64")
    if version < 3:
        with pytest.raises(InputError, match=r"other options: model\.subnet=.*'epsilon': 1e-08"):
            runs.fit(tiny.recipe(tmp_path, data, *options), resume=str(path(version)))
        options.append("model.subnet.epsilon=1e-8")
    recipe = tiny.recipe(tmp_path, data, *options, "trainer.max_epochs=3", "trainer.logger=false")
    run = runs.fit(recipe, resume=str(path(version)))
    stored = read_checkpoint(run.folder.last)
    assert (stored.epoch, stored.step, stored.format) == (2, 9, FORMAT)
    assert raw(run.folder.last)["callbacks"]["EMAWeightAveraging"] == {"latest_update_step": 9}


def test_an_upgrade_leaves_the_content_alone_and_names_what_is_missing():
    about = {"format": 1, "recipe": {}}
    content = {"hermnet": about, "epoch": 3, "state_dict": {}}
    keepers = {f"ModelCheckpoint{k}": {"monitor": k, "best_model_score": 2.5} for k in ("x", None)}
    upgraded = upgrade(content | {"callbacks": {"A": {}, **keepers}}, about, "a.ckpt")
    assert upgraded["callbacks"]["Saving"]["best"] == 2.5
    assert set(upgraded["callbacks"]) == {"A", "Saving"}
    assert upgraded["hermnet"]["position"] == {"epoch": 4, "batch": 0, "n_batches": 0}
    assert about == {"format": 1, "recipe": {}}
    with pytest.raises(
        InputError, match=r"a.ckpt is an incomplete checkpoint: KeyError\('epoch'\)"
    ):
        upgrade({"hermnet": about}, about, "a.ckpt")


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("painn", {"name": "painn", "epsilon": 1e-8}),
        ({"name": "rmconv"}, {"name": "rmconv", "epsilon": 1e-8}),
        ({"name": "painn", "epsilon": 1.0}, {"name": "painn", "epsilon": 1.0}),
        ({"name": "schnet"}, {"name": "schnet"}),
        (
            {"default": "schnet", "O": {"name": "painn"}},
            {"default": {"name": "schnet"}, "O": {"name": "painn", "epsilon": 1e-8}},
        ),
    ],
)
def test_norms_stay_as_sharp_as_they_were(before: Any, now: dict[str, Any]):
    content = {"hermnet": {"format": 2, "recipe": {"model": {"subnet": before}}}}
    upgraded = upgrade(content, content["hermnet"], "a.ckpt")
    assert upgraded["hermnet"]["recipe"]["model"] == {"subnet": now}
