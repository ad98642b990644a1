"""Fits of properties from recipe to table, files and predictions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
import torch

import properties
import tiny
from hermnet.checkpoints.checkpoint import load_model, load_potential, read_checkpoint
from hermnet.datamodule import DATAMODULES
from hermnet.errors import InputError, InputErrors
from hermnet.graph import AtomicGraph
from hermnet.property_model import PropertyModel
from hermnet.recipes.config import Recipe, resolve
from hermnet.run import commands as runs
from hermnet.run.evaluation import columns, evaluate_properties
from hermnet.run.plots import read_curves
from hermnet.run.prediction import batches
from hermnet.training.targets import Labels

pytestmark = pytest.mark.filterwarnings("ignore:relations with few training edges")


@pytest.fixture(scope="module", autouse=True)
def _registered() -> Iterator[None]:
    DATAMODULES._classes["molecules"] = properties.Molecules
    yield
    del DATAMODULES._classes["molecules"]


def recipe(folder: Path, readout: Any, *overrides: str) -> Recipe:
    model = {"readout": readout, "n_channels": 8, "n_layers": 1, "cutoff": 3.0}
    return resolve(str(tiny.written(folder, {"name": "molecules"}, model, {})), overrides)


TWO = properties.READOUTS["mean"]  # gap and u0


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, runs.Run]:
    given = ("training.target_weights={u0: 2}", "training.compile=false")
    chosen = recipe(tmp_path_factory.mktemp("finished"), TWO, *given)
    return chosen, runs.fit(chosen)


def test_everything_is_in_the_run_folder(finished: tuple[Recipe, runs.Run]):
    chosen, run = finished
    for path in (run.folder.best, run.folder.last, run.folder.parity, run.folder.learning_curve):
        assert path.stat().st_size > 5000, path
    assert resolve(str(run.folder.recipe)) == chosen
    names = {f"{t}_{kind}" for t in ("gap", "u0") for kind in ("mae", "rmse")}
    stored = json.loads(run.folder.results.read_text())
    assert {split: set(errors) for split, errors in stored.items()} == dict.fromkeys(
        ("train", "val", "test"), names
    )
    curves = read_curves(run.folder.metrics())
    assert {"train_gap_loss", "train_u0_loss", "val_mae_over_scale"} <= set(curves)
    assert curves["val_gap_mae"][:, 1].min() == pytest.approx(stored["val"]["gap_mae"], rel=0.5)


def test_the_table_has_units(finished: tuple[Recipe, runs.Run], capsys: pytest.CaptureFixture[str]):
    chosen, run = finished
    assert columns(run.results) == {"gap": ("gap", "eV"), "u0": ("u0", "eV")}
    for command, split in ((runs.validate, "val"), (runs.test, "test")):
        found = command(chosen)
        assert found[split].errors == pytest.approx(run.results[split].errors, rel=1e-6)
        printed = capsys.readouterr().out
        assert "gap MAE" in printed
        assert "u0 RMSE" in printed
        assert "eV" in printed


def test_the_errors_are_numpys(finished: tuple[Recipe, runs.Run]):
    _, run = finished
    model = load_model(run.folder.best)
    assert isinstance(model, PropertyModel)
    data = properties.Molecules()
    data.set_cutoff(3.0)
    with torch.no_grad():
        graphs = data.graphs("test")
        found = np.concatenate([model(graph).values.numpy() for graph in graphs])
    expected = np.concatenate([graph.scalars[:, :2].numpy() for graph in graphs])
    errors = run.results["test"].errors
    mae, rmse = abs(found - expected).mean(axis=0), ((found - expected) ** 2).mean(axis=0) ** 0.5
    assert [errors["gap_mae"], errors["u0_mae"]] == pytest.approx(mae, rel=1e-5)
    assert [errors["gap_rmse"], errors["u0_rmse"]] == pytest.approx(rmse, rel=1e-5)


def test_predictions_stand_in_the_comment_line(
    finished: tuple[Recipe, runs.Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    chosen, run = finished
    path = runs.predict(chosen, output=str(tmp_path / "out.xyz"))
    assert f"4 frames with gap (eV), u0 (eV) in {path}" in capsys.readouterr().out
    frames = ase.io.read(path, ":")
    labels, values = run.results["test"].pairs["u0"]
    assert [atoms.info["u0"] for atoms in frames] == pytest.approx(values, rel=1e-6)
    assert len(labels) == len(frames) == 4


def test_a_checkpoint_carries_everything(finished: tuple[Recipe, runs.Run]):
    chosen, run = finished
    stored = read_checkpoint(run.folder.best)
    assert stored.units == {"gap": "eV", "u0": "eV"}
    assert Recipe.from_dict(stored.recipe) == chosen
    model = load_model(run.folder.best, dtype="float64")
    assert isinstance(model, PropertyModel)
    assert model.dtype == torch.float64
    assert not model.training
    assert model.readout.baseline.per_element.abs().min() > 0
    assert (model.target_scales != 1).all()
    message = r"holds a model of gap, u0 \(readout scalar\), .*read it with hermnet.load_model"
    with pytest.raises(InputError, match=message):
        load_potential(run.folder.best)


def test_a_resumed_run_is_an_uninterrupted_one(finished: tuple[Recipe, runs.Run], tmp_path: Path):
    quick = ("training.target_weights={u0: 2}", "trainer.logger=false")
    runs.fit(recipe(tmp_path, TWO, *quick, "trainer.max_epochs=1"))
    parts = runs.fit(recipe(tmp_path, TWO, *quick), resume="last")
    whole = torch.load(finished[1].folder.last, weights_only=True)["state_dict"]
    again = torch.load(parts.folder.last, weights_only=True)["state_dict"]
    assert whole.keys() == again.keys()
    for name, value in whole.items():
        torch.testing.assert_close(again[name], value, rtol=0, atol=0, msg=name)
    changed = recipe(tmp_path, {"name": "dipole"}, *quick[1:], "trainer.max_epochs=3")
    with pytest.raises(InputError, match=r"with other options: model.readout"):
        runs.fit(changed, resume="last")


@pytest.mark.parametrize("readout", ["norm", "vector", "extent", "polarizability"])
def test_every_readout_learns(readout: str, tmp_path: Path):
    """Errors fall below what the elements alone say."""
    overrides = (
        "trainer.max_epochs=15",
        "training.optimizer.lr=0.02",
        "trainer.logger=false",
        "training.ema_decay=null",
    )
    run = runs.fit(recipe(tmp_path, properties.READOUTS[readout], *overrides))
    model = load_model(run.folder.best)
    assert isinstance(model, PropertyModel)
    (target,) = model.targets
    scale = model.target_scales.item()
    if readout != "extent":  # there the elements say it all
        assert run.results["train"].errors[f"{target.name}_mae"] < 0.5 * scale
    path = runs.predict(recipe(tmp_path, properties.READOUTS[readout]))
    info = ase.io.read(path, "0").info if readout != "vector" else {}
    assert readout == "vector" or np.isfinite(info[target.name])


def test_a_vector_is_written_as_one(tmp_path: Path):
    chosen = recipe(tmp_path, "dipole", "trainer.logger=false", "trainer.max_epochs=1")
    run = runs.fit(chosen)
    assert chosen.model.readout == {"name": "dipole", "norm": False, "target": "mu"}
    path = runs.predict(chosen)
    assert 'dipole="' in path.read_text()
    _, values = run.results["test"].pairs["dipole"]
    (first, *_) = ase.io.read(path, ":")
    np.testing.assert_allclose(first.get_dipole_moment(), values[:3], atol=1e-6)
    assert columns(run.results) == {"dipole": ("dipole", "e A")}


def test_data_in_other_units_are_compared_in_the_models(tmp_path: Path):
    """The model was trained in Debye; the data come in e A."""
    run = runs.fit(recipe(tmp_path, properties.READOUTS["norm"], "trainer.logger=false"))
    model = load_model(run.folder.best)
    assert isinstance(model, PropertyModel)
    errors = []
    for units in ("atomic", "internal"):
        data = properties.Molecules(units=units)
        data.set_cutoff(3.0)
        labels = Labels.locate(model.targets, model.units, data.scalar_names, data.scalar_units)
        errors.append(evaluate_properties(model, data.eval_dataloader("test"), labels).errors)
    assert errors[0] == pytest.approx(errors[1], rel=1e-6)


def test_a_split_without_labels_has_no_errors(finished: tuple[Recipe, runs.Run]):
    model = load_model(finished[1].folder.best)
    assert isinstance(model, PropertyModel)
    data = properties.Molecules()
    data.set_cutoff(3.0)
    labels = Labels.locate(model.targets, model.units, data.scalar_names, data.scalar_units)
    bare = batches([graph.without_labels() for graph in data.graphs("test")], 2)
    result = evaluate_properties(model, bare, labels)
    assert (result.errors, result.pairs) == ({}, {})


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.readout=dipol", "model.readout: unknown 'dipol'; did you mean 'dipole'?"),
        ("model.readout=[dipole]", "model.readout: expected a readout's name, or 'name' with"),
        ("model.readout={name: dipole, nrom: true}", "model.readout.nrom: unknown option; did you"),
        ("model.readout={name: dipole, norm: 3}", "model.readout.norm: expected bool, got 3"),
        ("model.readout=scalar", "model.readout.targets: must be given"),
        ("model.readout={name: energy, sum: true}", "model.readout.sum: unknown option"),
        ("model.readout.mode=max", "model.readout.mode: "),
        ("model.readout={name: scalar, targets: [u0]}", "model.readout.mode: say sum (extensive)"),
        ("model.zbl=true", "model.zbl: holds for energies, not for scalar"),
        ("training.target_weights={gpa: 1}", "training.target_weights: no target 'gpa'; did you"),
        ("training.target_weights={gap: 0, u0: 0}", "training.target_weights: one must be posit"),
        ("training.target_weights={gap: -1}", "training.target_weights: they must not be neg"),
        ("training.compile=true", "training.compile: only energies can be compiled"),
    ],
)
def test_recipes_that_cannot_be_used(override: str, message: str, tmp_path: Path):
    with pytest.raises(InputErrors) as caught:
        recipe(tmp_path, TWO, override)
    (found,) = caught.value.messages
    assert found.startswith(message)


def test_weights_of_targets_need_targets(tmp_path: Path):
    with pytest.raises(InputErrors, match=r"target_weights: no target 'gap'; \(known: none\)"):
        recipe(tmp_path, "energy", "training.target_weights={gap: 1}")


def test_a_target_that_the_data_do_not_have(tmp_path: Path):
    chosen = recipe(tmp_path, {"name": "scalar", "targets": ["u298"], "mode": "sum"})
    message = r"no scalar 'u298'; .*\(known: alpha, gap, mu, r2, u0\)"
    with pytest.raises(InputError, match=message):
        runs.fit(chosen)
    assert not (tmp_path / "run").exists()


def changed(monkeypatch: pytest.MonkeyPatch, **values: Any) -> None:
    read = properties.Molecules.read

    def other(self: properties.Molecules) -> dict[str, list[AtomicGraph]]:
        found = read(self)
        return {**found, "val": [replace(graph, **values) for graph in found["val"]]}

    monkeypatch.setattr(properties.Molecules, "read", other)


def test_a_target_without_a_label_in_a_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    changed(monkeypatch, scalars=torch.full((1, 5), torch.nan, dtype=torch.float64))
    with pytest.raises(InputError, match="no val frame has a value of 'gap'"):
        runs.fit(recipe(tmp_path, TWO))


def test_a_dipole_of_a_crystal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    box = {"cell": 9.0 * torch.eye(3, dtype=torch.float64)[None], "pbc": torch.ones(1, 3).bool()}
    changed(monkeypatch, **box)
    with pytest.raises(InputError, match="dipole is for molecules, but val frame 0 is periodic"):
        runs.fit(recipe(tmp_path, "dipole"))
    run = runs.fit(recipe(tmp_path, TWO, "trainer.max_epochs=1", "trainer.logger=false"))
    assert run.results["val"].periodic


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scalars": torch.zeros(1, 4)}, r"val frame 0: scalars have the shape \(1, 4\) instead"),
        ({"scalars": torch.full((1, 5), torch.inf)}, "val frame 0: scalars with infinity"),
        ({"dipole": torch.full((1, 3), -torch.inf)}, "val frame 0: dipole with infinity"),
    ],
    ids=["shape", "scalars", "dipole"],
)
def test_labels_that_cannot_be_right(
    values: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    changed(monkeypatch, **values)
    with pytest.raises(InputError, match=message):
        runs.fit(recipe(tmp_path, TWO))
