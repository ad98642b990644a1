from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
import torch

import tiny
from hermnet.checkpoints.checkpoint import load_potential
from hermnet.errors import InputError
from hermnet.run import commands as runs
from hermnet.run import pictures
from hermnet.run.plots import read_curves
from hermnet.training import non_finite
from hermnet.training.task import PotentialTask
from same import raw

pytestmark = pytest.mark.filterwarnings("ignore:relations with few training edges")
BATCH = 5  # counted from 1; the second of the second epoch, as there are three in each


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.data(tmp_path_factory.mktemp("data"))


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        runs, "leave_results", lambda folder, model, results: pictures._write(folder, results)
    )


def spoil_loss(monkeypatch: pytest.MonkeyPatch, factor: float) -> None:
    original, count = PotentialTask.training_step, [0]

    def training_step(task: PotentialTask, graph: Any, batch_idx: int) -> torch.Tensor:
        count[0] += 1
        loss = original(task, graph, batch_idx)
        return loss * factor if count[0] == BATCH else loss

    monkeypatch.setattr(PotentialTask, "training_step", training_step)


def spoil_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    count = [0]

    def on_after_backward(task: PotentialTask) -> None:
        count[0] += 1
        if count[0] == BATCH:
            task.potential.embedding.weight.grad[0, 0] = math.inf

    monkeypatch.setattr(PotentialTask, "on_after_backward", on_after_backward)


def refused(recipe: Any, what: str) -> Path:
    """The file of the batch, from the message."""
    message = (
        rf"the {what} of batch 2 of epoch 2 \(train frames \d, \d, \d\) is infinite or not a "
        rf"number; the batch is in .*non_finite/epoch-2-batch-2.xyz\. .*non_finite=skip"
    )
    with pytest.raises(InputError, match=message):
        runs.fit(recipe)
    return runs.RunFolder.of(recipe.name, recipe.trainer).non_finite / "epoch-2-batch-2.xyz"


@pytest.mark.parametrize("factor", [math.nan, math.inf])
def test_a_loss_that_is_no_number_ends_the_run(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factor: float
):
    spoil_loss(monkeypatch, factor)
    recipe = tiny.recipe(tmp_path, data, "trainer.logger=false")
    written = ase.io.read(refused(recipe, "loss"), ":")
    train = ase.io.read(data / "train.xyz", ":")
    assert len(written) == 3
    for atoms in written:
        theirs = train[atoms.info["frame"]]
        np.testing.assert_allclose(atoms.positions, theirs.positions, atol=1e-8)
        np.testing.assert_allclose(atoms.get_forces(), theirs.get_forces(), atol=1e-8)
        assert atoms.get_potential_energy() == pytest.approx(theirs.get_potential_energy())
    folder = runs.RunFolder.of(recipe.name, recipe.trainer)
    state = raw(folder.last)
    assert state["global_step"] == 3, "the epoch before"
    assert all(torch.isfinite(value).all() for value in state["state_dict"].values())
    monkeypatch.undo()
    assert runs.fit(recipe, resume="last").results, "it can be gone on from"


FUSED = "training.optimizer={class_path: torch.optim.AdamW, lr: 0.01, fused: true}"


@pytest.fixture(params=["at once", "later"])
def when(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the host looks: on a CPU at once, elsewhere after the step."""
    monkeypatch.setattr(non_finite, "looks_later", lambda device: request.param == "later")


@pytest.mark.usefixtures("when")
def test_a_gradient_that_is_no_number_ends_the_run(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    spoil_gradient(monkeypatch)
    recipe = tiny.recipe(tmp_path, data, "trainer.logger=false", FUSED)
    assert len(ase.io.read(refused(recipe, "gradient"), ":")) == 3


def test_a_last_batch_seen_later_is_not_saved(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(non_finite, "looks_later", lambda device: True)
    monkeypatch.setattr(f"{__name__}.BATCH", 6)
    spoil_loss(monkeypatch, math.inf)
    recipe = tiny.recipe(tmp_path, data, "trainer.logger=false", FUSED)
    with pytest.raises(InputError, match="the loss of batch 3 of epoch 2"):
        runs.fit(recipe)
    state = raw(runs.RunFolder.of(recipe.name, recipe.trainer).last)
    assert state["global_step"] == 3


def test_weights_stay_until_the_host_looks(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(non_finite, "looks_later", lambda device: True)
    weights: list[torch.Tensor] = []

    def on_train_batch_end(task: PotentialTask, *_: Any) -> None:
        weights.append(task.potential.embedding.weight.detach().clone())

    monkeypatch.setattr(PotentialTask, "on_train_batch_end", on_train_batch_end)
    spoil_gradient(monkeypatch)
    with pytest.raises(InputError, match="the gradient of batch 2 of epoch 2"):
        runs.fit(tiny.recipe(tmp_path, data, "trainer.logger=false", FUSED))
    assert len(weights) == BATCH, "the step was taken, and said to be bad in the next"
    assert torch.equal(weights[-1], weights[-2])


def test_an_optimizer_that_cannot_skip_is_looked_at_at_once(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(non_finite, "looks_later", lambda device: True)
    spoil_loss(monkeypatch, math.nan)
    plain = "training.optimizer={class_path: torch.optim.Adamax, lr: 0.001}"
    recipe = tiny.recipe(tmp_path, data, plain, "training.non_finite=skip")
    with pytest.warns(UserWarning, match="skipped"):
        run = runs.fit(recipe)
    parameters = load_potential(run.folder.last).parameters()
    assert all(torch.isfinite(value).all() for value in parameters)


def test_the_first_batch_leaves_the_file_alone(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(f"{__name__}.BATCH", 1)
    spoil_loss(monkeypatch, math.nan)
    recipe = tiny.recipe(tmp_path, data, "trainer.logger=false")
    with pytest.raises(InputError, match="the loss of batch 1 of epoch 1"):
        runs.fit(recipe)
    folder = runs.RunFolder.of(recipe.name, recipe.trainer)
    assert (folder.non_finite / "epoch-1-batch-1.xyz").is_file()


@pytest.mark.usefixtures("when")
def test_a_batch_is_skipped(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    recipe = tiny.recipe(tmp_path, data, "training.non_finite=skip", FUSED)
    spoil_loss(monkeypatch, math.nan)
    weights: list[torch.Tensor] = []

    def on_train_batch_end(task: PotentialTask, *_: Any) -> None:
        weights.append(task.potential.embedding.weight.detach().clone())

    monkeypatch.setattr(PotentialTask, "on_train_batch_end", on_train_batch_end)
    with pytest.warns(UserWarning, match=r"loss of batch 2 of epoch 2 .* not a number; skipped"):
        run = runs.fit(recipe)
    moved = [not torch.equal(one, other) for one, other in pairwise(weights)]
    assert moved == [k != BATCH - 2 for k in range(5)], "every step but that one"
    parameters = load_potential(run.folder.last).parameters()
    assert all(torch.isfinite(value).all() for value in parameters)
    assert np.isfinite(read_curves(run.folder.metrics())["train_loss"]).all()
    assert not run.folder.non_finite.exists()
