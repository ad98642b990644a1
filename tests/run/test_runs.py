from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lazy
import tiny
from hermnet.checkpoints.checkpoint import load_potential, read_checkpoint
from hermnet.datamodule import DATAMODULES
from hermnet.errors import InputError
from hermnet.recipes.config import Recipe, resolve
from hermnet.run import commands as runs
from hermnet.run.plots import read_curves
from hermnet.subnetwork import SUBNETS

pytestmark = pytest.mark.filterwarnings("ignore:relations with few training edges")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, data: Path) -> runs.Run:
    """A run of two epochs; tests only look at it."""
    return runs.fit(tiny.recipe(tmp_path_factory.mktemp("finished"), data))


def raw(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(path, weights_only=True)
    return content


def assert_same_state(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, value in other.items():
        torch.testing.assert_close(one[name], value, rtol=0, atol=0, msg=name)


def test_everything_is_in_the_run_folder(finished: runs.Run):
    path = finished.folder.path
    names = {str(p.relative_to(path)) for p in path.rglob("*") if p.is_file()}
    events = {name for name in names if name.startswith("tensorboard_0/events.out")}
    assert len(events) == 1
    assert names - events == {
        "recipe.yaml",
        "starts.json",
        "results.json",
        "learning_curve.png",
        "parity.png",
        "errors_by_element.json",
        "errors_by_element.png",
        "cost.json",
        "frame_errors.npz",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "csv_0/metrics.csv",
        "tensorboard_0/hparams.yaml",
    }


def test_results_are_those_of_the_best_checkpoint(finished: runs.Run, data: Path, tmp_path: Path):
    assert set(finished.results) == {"train", "val", "test"}
    stored = json.loads(finished.folder.results.read_text())
    assert stored == {split: result.errors for split, result in finished.results.items()}
    recipe = tiny.recipe(tmp_path, data)
    for run, split in ((runs.validate, "val"), (runs.test, "test")):
        found = run(recipe, checkpoint=str(finished.folder.best))
        assert found[split].errors == pytest.approx(stored[split], rel=1e-6)
    # what Lightning logged in the epoch that was kept, with its averaged weights
    curve = read_curves(finished.folder.metrics())["val_forces_mae"]
    assert curve[:, 1].min() == pytest.approx(stored["val"]["forces_mae"], rel=1e-4)


def test_the_stored_recipe_is_the_one_that_ran(finished: runs.Run):
    expected = resolve(str(finished.folder.recipe))
    assert Recipe.from_dict(read_checkpoint(finished.folder.best).recipe) == replace(
        expected, name="tiny"
    )


def test_the_potential_has_the_statistics_of_the_training_frames(finished: runs.Run):
    potential = load_potential(finished.folder.best)
    assert potential.elements == (1, 6, 8)
    assert potential.relation_labels == ("H", "C", "O")
    frames = [tiny.methanol(seed) for seed in range(tiny.N_FRAMES["train"])]
    forces = np.array([atoms.get_forces() for atoms in frames])
    assert potential.reference.scale.item() == pytest.approx((forces**2).mean() ** 0.5, rel=1e-6)
    energy = sum(atoms.get_potential_energy() for atoms in frames) / len(frames)
    shift = potential.reference.energies @ torch.tensor([4.0, 1.0, 1.0], dtype=torch.float64)
    assert shift.item() == pytest.approx(energy, rel=1e-6)


def test_the_same_seed_gives_the_same_run(finished: runs.Run, data: Path, tmp_path: Path):
    torch.manual_seed(99)  # no matter
    again = runs.fit(tiny.recipe(tmp_path / "again", data))
    one, other = raw(again.folder.last), raw(finished.folder.last)
    assert_same_state(one["state_dict"], other["state_dict"])
    different = runs.fit(tiny.recipe(tmp_path / "different", data, "training.seed=1", QUICK))
    name = "potential.embedding.weight"
    assert not torch.equal(
        raw(different.folder.last)["state_dict"][name], other["state_dict"][name]
    )


def test_averaged_weights_are_what_is_kept(finished: runs.Run):
    content = raw(finished.folder.last)
    name = "potential.embedding.weight"
    assert not torch.equal(content["state_dict"][name], content["current_model_state"][name])
    kept = load_potential(finished.folder.last).embedding.weight
    assert torch.equal(kept, content["state_dict"][name])


def test_the_last_checkpoint_is_of_the_last_epoch_though_an_earlier_was_best(
    data: Path, tmp_path: Path
):
    frozen = ("training.optimizer.lr=0", "trainer.max_epochs=3", QUICK)
    run = runs.fit(tiny.recipe(tmp_path, data, *frozen))
    assert read_checkpoint(run.folder.best).epoch == 0
    assert read_checkpoint(run.folder.last).epoch == 2


QUICK = "trainer.logger=false"  # spares the learning curve


def test_a_resumed_run_is_an_uninterrupted_one(data: Path, tmp_path: Path):
    """With a schedule and no average of weights; tests of the command line have the opposite."""
    options = (
        "training.scheduler.class_path=torch.optim.lr_scheduler.ExponentialLR",
        "training.scheduler.gamma=0.5",
        "training.ema_decay=null",
    )

    def fit(name: str, n_epochs: int, resume: str | None = None) -> runs.Run:
        recipe = tiny.recipe(tmp_path / name, data, *options, f"trainer.max_epochs={n_epochs}")
        return runs.fit(recipe, resume=resume)

    whole = fit("whole", 4)
    fit("parts", 2)
    parts = fit("parts", 4, resume="last")
    one, other = raw(parts.folder.last), raw(whole.folder.last)
    assert_same_state(one["state_dict"], other["state_dict"])
    assert one["lr_schedulers"] == other["lr_schedulers"]
    assert (one["epoch"], one["global_step"]) == (other["epoch"], other["global_step"]) == (3, 12)
    assert parts.results["test"].errors == whole.results["test"].errors
    assert [path.parent.name for path in parts.folder.metrics()] == ["csv_0", "csv_1"]
    curves = [read_curves(run.folder.metrics()) for run in (parts, whole)]
    for name in ("train_loss", "val_forces_mae"):
        assert curves[0][name].tolist() == curves[1][name].tolist()


@pytest.mark.slow
def test_a_resumed_run_follows_its_own_schedule(data: Path, tmp_path: Path):
    """A cosine to epoch 2 has come to zero; one to epoch 4 has not."""
    cosine = (
        "training.scheduler.class_path=torch.optim.lr_scheduler.CosineAnnealingLR",
        "training.scheduler.T_max=${trainer.max_epochs}",
        QUICK,
    )
    first = tiny.recipe(tmp_path, data, *cosine)
    group = raw(runs.fit(first).folder.last)["optimizer_states"][0]["param_groups"][0]
    assert group["lr"] == pytest.approx(0.0, abs=1e-12)
    run = runs.fit(tiny.recipe(tmp_path, data, *cosine, "trainer.max_epochs=4"), resume="last")
    logged = raw(run.folder.last)
    assert logged["lr_schedulers"][0]["T_max"] == 4
    assert logged["lr_schedulers"][0]["last_epoch"] == 4
    assert logged["optimizer_states"][0]["param_groups"][0]["lr"] == pytest.approx(0.0, abs=1e-12)
    steps = logged["optimizer_states"][0]["state"][0]["step"]
    assert steps == 12, "the optimizer remembers the first epochs"


def test_resuming_from_a_checkpoint_elsewhere_with_another_learning_rate(
    finished: runs.Run, data: Path, tmp_path: Path
):
    changed = ("trainer.max_epochs=3", "training.optimizer.lr=1e-4", QUICK)
    recipe = tiny.recipe(tmp_path, data, *changed)
    run = runs.fit(recipe, resume=str(finished.folder.last))
    assert run.folder.best.is_file(), "the best of the other folder is not there"
    content = raw(run.folder.last)
    assert content["epoch"] == 2
    assert content["optimizer_states"][0]["param_groups"][0]["lr"] == 1e-4
    assert finished.folder.n_starts() == 1


def test_an_option_that_is_younger_than_the_checkpoint_had_its_default(
    finished: runs.Run, data: Path, tmp_path: Path
):
    content = raw(finished.folder.last)
    del content["hermnet"]["recipe"]["model"]["readout"]
    old = tmp_path / "old.ckpt"
    torch.save(content, old)
    assert load_potential(old).options.readout == "energy"
    run = runs.fit(tiny.recipe(tmp_path, data, "trainer.max_epochs=3", QUICK), resume=str(old))
    assert read_checkpoint(run.folder.last).epoch == 2


def test_training_frames_alone(data: Path, tmp_path: Path):
    recipe = resolve(str(tiny.recipe_file(tmp_path, data, splits=["train"])), [QUICK])
    run = runs.fit(recipe)
    assert set(run.results) == {"train"}
    assert run.folder.usable_checkpoint() == run.folder.last
    assert read_checkpoint(run.folder.last).epoch == 1
    with pytest.raises(InputError, match=r"no 'val' frames; splits with frames: train \(8\)"):
        runs.validate(recipe)
    with pytest.raises(InputError, match="no 'test' frames"):
        runs.predict(recipe)
    assert not run.folder.predictions.exists()
    assert runs.fit(replace(recipe, trainer=recipe.trainer | {"max_epochs": 3}), resume="last")


def test_one_frame(tmp_path: Path):
    tiny.write(tmp_path / "train.xyz", [tiny.methanol(0)])
    recipe = resolve(str(tiny.recipe_file(tmp_path, tmp_path, splits=["train"])), [QUICK])
    run = runs.fit(recipe)
    assert run.results["train"].errors["forces_mae"] > 0


def test_atoms_without_neighbors(data: Path, tmp_path: Path):
    with pytest.warns(
        UserWarning, match="72 of 72 atoms have no neighbor within the cutoff of 0.5"
    ):
        run = runs.fit(tiny.recipe(tmp_path, data, "model.cutoff=0.5", QUICK))
    assert all(map(torch.isfinite, map(torch.tensor, run.results["test"].errors.values())))


def test_rare_relations_are_named(data: Path, tmp_path: Path):
    with pytest.warns(UserWarning, match=r"few training edges: C \(40\), O \(40\)$"):
        runs.fit(tiny.recipe(tmp_path, data, "trainer.max_epochs=1", QUICK))


def test_frames_on_disk_are_read_once_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    files = {"train": range(4), "val": range(4, 6), "test": range(6, 8)}
    for split, seeds in files.items():
        lazy.write(tmp_path / f"{split}.npz", seeds)
    monkeypatch.setenv("HERMNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(DATAMODULES, "_classes", {"lazy": lazy.Lazy})
    sections = tiny.recipe(tmp_path, tmp_path, QUICK).to_dict()
    data = {split: str(tmp_path / f"{split}.npz") for split in files}
    sections["data"] = {"name": "lazy", "max_edges_per_batch": 100, **data}
    read: list[list[tuple[str, int]]] = []

    def stop(*args: object) -> None:
        read.append(list(lazy.READS))
        raise InputError("that is all")

    monkeypatch.setattr("hermnet.run.fitting._train", stop)
    for _ in range(2):
        lazy.READS.clear()
        with pytest.raises(InputError, match="that is all"):
            runs.fit(Recipe.from_dict(sections), overwrite=True)
    once = [(split, index) for split, seeds in files.items() for index in range(len(seeds))]
    assert sorted(read[0]) == sorted(once)
    assert read[1] == []


def test_energies_alone(data: Path, tmp_path: Path):
    overrides = ("data.labels=[energy]", "training.forces_weight=0", QUICK)
    run = runs.fit(tiny.recipe(tmp_path, data, *overrides))
    assert run.folder.best.is_file()
    assert not any(name.startswith("forces") for name in run.results["test"].errors)


def test_stress_of_an_alloy(tmp_path: Path):
    for start, split in enumerate(("train", "val", "test")):
        tiny.write(tmp_path / f"{split}.xyz", [tiny.alloy(4 * start + k) for k in range(4)])
    overrides = ("data.labels=[energy,forces,stress]", "training.stress_weight=1", "model.cutoff=4")
    run = runs.fit(tiny.recipe(tmp_path, tmp_path, *overrides))
    assert {"stress_mae", "stress_rmse"} <= set(run.results["test"].errors)
    assert "train_stress_loss" in read_curves(run.folder.metrics())


def test_a_stress_without_a_volume_is_refused(data: Path, tmp_path: Path):
    frames = [tiny.methanol(seed) for seed in range(2)]
    for atoms in frames:
        atoms.calc.results["stress"] = np.zeros(6)
    path = tiny.write(tmp_path / "stress.xyz", frames)
    overrides = ("data.labels=[energy,forces,stress]", f"data.train={path}", "data.val=null")
    with pytest.raises(InputError, match=r"stress.xyz, frame 0: a stress, but no cell"):
        runs.fit(tiny.recipe(tmp_path, data, *overrides, "data.test=null"))
    assert not (tmp_path / "run").exists()


def test_without_loggers_and_as_a_trial(data: Path, tmp_path: Path):
    run = runs.fit(tiny.recipe(tmp_path / "a", data, QUICK))
    assert not run.folder.learning_curve.exists()
    assert run.folder.parity.exists()
    trial = runs.fit(tiny.recipe(tmp_path / "b", data, "trainer.fast_dev_run=true"))
    assert trial.results == {}


def test_callbacks_and_loggers_of_the_recipe(data: Path, tmp_path: Path):
    recipe = tiny.recipe(tmp_path, data, "trainer.max_epochs=9", "training.optimizer.lr=0")
    extra = {
        "callbacks": [
            {
                "class_path": "pytorch_lightning.callbacks.EarlyStopping",
                "monitor": "val_forces_mae",
                "patience": 1,
            }
        ],
        "logger": [
            {"class_path": "pytorch_lightning.loggers.CSVLogger", "save_dir": str(tmp_path)}
        ],
    }
    run = runs.fit(replace(recipe, trainer=recipe.trainer | extra))
    assert read_checkpoint(run.folder.last).epoch == 1
    assert run.folder.metrics() == []
    assert (tmp_path / "lightning_logs" / "version_0" / "metrics.csv").is_file()


def test_a_scheduler_that_follows_validation_needs_some(data: Path, tmp_path: Path):
    plateau = "training.scheduler.class_path=torch.optim.lr_scheduler.ReduceLROnPlateau"
    path = tiny.recipe_file(tmp_path, data, splits=["train"])
    with pytest.raises(InputError, match=r"training.scheduler: .*there are no val frames"):
        runs.fit(resolve(str(path), [plateau]))
    assert not (tmp_path / "run").exists()
    assert runs.fit(tiny.recipe(tmp_path, data, plateau, QUICK)).folder.best.is_file()


def test_what_lightning_refuses_leaves_no_run(data: Path, tmp_path: Path):
    with pytest.raises(InputError, match=r"limit_train_batches"):
        runs.fit(tiny.recipe(tmp_path, data, "trainer.limit_train_batches=0.001"))
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("relations", ["none", "vertex", "pair", "triadic"])
@pytest.mark.parametrize("subnet", SUBNETS.names())
def test_every_sub_network_trains_in_every_scheme(
    data: Path, tmp_path: Path, subnet: str, relations: str
):
    overrides = (
        f"model.subnet={subnet}",
        f"model.relations={relations}",
        "data.batch_size=4",
        "trainer.max_epochs=1",
        QUICK,
    )
    run = runs.fit(tiny.recipe(tmp_path, data, *overrides))
    content = raw(run.folder.last)
    assert content["global_step"] == 2
    moved = [
        name
        for name, state in content["state_dict"].items()
        if not torch.equal(state, content["current_model_state"][name])
    ]
    assert len(moved) > 5, "the second step changed the weights after the first"
    assert all(map(torch.isfinite, map(torch.tensor, run.results["test"].errors.values())))
