from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

import structures
from hermnet.checks import random_potential
from hermnet.errors import InputError
from hermnet.graph import AtomicGraph, collate
from hermnet.model_options import ModelOptions
from hermnet.neighbors import graph_from_atoms
from hermnet.potential import Potential
from hermnet.training.options import TrainingOptions
from hermnet.training.task import PotentialTask
from hermnet.training.trainer import cpu_threads, quiet

MODEL = ModelOptions(
    relations="pair", n_channels=4, n_layers=1, n_radial=4, cutoff=3.0, dtype="float64"
)
ELEMENTS = (1, 6, 8, 22, 56)  # the molecule lacks titanium and barium, the crystal hydrogen


def labelled_graph(atoms: Any, *labels: str, seed: int = 0) -> AtomicGraph:
    graph = graph_from_atoms(atoms, MODEL.cutoff)
    generator = torch.Generator().manual_seed(seed)
    shapes = {"energy": (1,), "forces": (graph.n_atoms, 3), "stress": (1, 3, 3)}
    values = {
        name: torch.randn(shapes[name], dtype=torch.float64, generator=generator) for name in labels
    }
    return replace(graph, **values)


def make_task(**options: Any) -> PotentialTask:
    training = TrainingOptions(**options)
    return PotentialTask(random_potential(MODEL, ELEMENTS), training, {})


class Recorder(pl.Callback):
    """The gradients after every backward pass."""

    def __init__(self) -> None:
        self.gradients: dict[str, Tensor | None] = {}

    def on_after_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for name, parameter in pl_module.named_parameters():
            self.gradients[name] = None if parameter.grad is None else parameter.grad.clone()


def run(task: PotentialTask, graphs: Sequence[AtomicGraph], validate: bool = False) -> Any:
    """Lightning's own loop for one batch: what it logged and the gradients."""
    recorder = Recorder()
    loader = DataLoader(list(graphs), batch_size=len(graphs), collate_fn=collate)
    with quiet():
        trainer = pl.Trainer(
            fast_dev_run=True,
            accelerator="cpu",
            callbacks=[recorder],
            inference_mode=False,
            enable_model_summary=False,
            enable_progress_bar=False,
        )
        trainer.fit(task, loader, loader if validate else [])
    return SimpleNamespace(logged=trainer.callback_metrics, gradients=recorder.gradients)


@pytest.mark.parametrize(
    ("weights", "labels"),
    [
        ({"energy_weight": 0.0}, ("forces",)),
        ({"forces_weight": 0.0}, ("energy",)),
        ({"energy_weight": 0.0, "forces_weight": 0.0, "stress_weight": 1.0}, ("stress",)),
        ({}, ("energy", "forces")),
    ],
    ids=["forces", "energy", "stress", "both"],
)
def test_every_parameter_gets_a_finite_gradient(weights: dict[str, float], labels: tuple[str, ...]):
    graphs = [labelled_graph(structures.crystal(), *labels)]
    gradients = run(make_task(**weights), graphs).gradients
    assert gradients
    lacking = [name for name, gradient in gradients.items() if gradient is None]
    assert lacking == []
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients.values())
    assert gradients["potential.embedding.weight"].abs().max() > 0
    # an energy's bias moves no force and no stress: its gradient is zero, not absent
    bias = gradients["potential.readout.out.bias"]
    assert (bias.abs().max() > 0) == ("energy" in labels)


def test_the_loss_is_the_weighted_sum_of_means():
    graphs = [
        labelled_graph(structures.molecule(), "energy", "forces"),
        labelled_graph(structures.crystal(), "energy", "forces", seed=1),
    ]
    task = make_task(energy_weight=2.0, forces_weight=3.0)
    graph = collate(graphs)
    with torch.no_grad():
        found = task.potential(graph)
    per_atom = (found.energy - graph.energy) / torch.tensor([9, 5])
    energy, forces = per_atom.square().mean(), (found.forces - graph.forces).square().mean()
    logged = run(task, graphs).logged
    assert logged["train_energy_loss"].item() == pytest.approx(energy.item(), rel=1e-6)
    assert logged["train_forces_loss"].item() == pytest.approx(forces.item(), rel=1e-6)
    expected = (2 * energy + 3 * forces).item()
    assert logged["train_loss"].item() == pytest.approx(expected, rel=1e-6)


def test_validation_leaves_out_what_has_no_label():
    graphs = [labelled_graph(structures.molecule(), "energy")]
    logged = run(make_task(forces_weight=0.0), graphs, validate=True).logged
    found = {name for name in logged if name.startswith("val_")}
    assert found == {
        f"val_{target}_{kind}"
        for target in ("energy", "energy_per_atom")
        for kind in ("mae", "rmse")
    }


def test_validation_errors_are_in_milli_units():
    graphs = [labelled_graph(structures.molecule(), "energy", "forces")]
    task = make_task(optimizer={"class_path": "torch.optim.SGD", "lr": 0.0})
    with torch.no_grad():
        found = task.potential(graphs[0])
    logged = run(task, graphs, validate=True).logged
    expected = 1000 * (found.forces - graphs[0].forces).abs().mean().item()
    assert logged["val_forces_mae"].item() == pytest.approx(expected, rel=1e-5)
    expected = 1000 * (found.energy - graphs[0].energy).abs().item() / 9
    assert logged["val_energy_per_atom_mae"].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("weights", "monitor"),
    [
        ({}, "val_forces_mae"),
        ({"forces_weight": 0.0}, "val_energy_per_atom_mae"),
        ({"energy_weight": 0.0, "forces_weight": 0.0, "stress_weight": 1.0}, "val_stress_mae"),
    ],
)
def test_what_is_best(weights: dict[str, float], monitor: str):
    assert make_task(**weights).monitor() == monitor


def test_optimizer_and_scheduler_from_class_path():
    task = make_task(
        optimizer={"class_path": "torch.optim.SGD", "lr": 0.5, "momentum": 0.9},
        scheduler={"class_path": "torch.optim.lr_scheduler.StepLR", "step_size": 3},
        scheduler_interval="step",
    )
    found = task.configure_optimizers()
    assert isinstance(found["optimizer"], torch.optim.SGD)
    assert found["optimizer"].defaults["momentum"] == 0.9
    held = {id(p) for group in found["optimizer"].param_groups for p in group["params"]}
    assert held == {id(p) for p in task.parameters()}
    schedule = found["lr_scheduler"]
    assert isinstance(schedule["scheduler"], torch.optim.lr_scheduler.StepLR)
    assert schedule["scheduler"].step_size == 3
    assert (schedule["interval"], schedule["monitor"]) == ("step", "val_forces_mae")


def test_without_a_scheduler_there_is_only_an_optimizer():
    assert isinstance(make_task().configure_optimizers(), torch.optim.AdamW)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"energy_weight": -1.0}, "training: loss weights must not be negative"),
        ({"energy_weight": 0.0, "forces_weight": 0.0}, "one must be positive"),
        ({"forces_weight": float("nan")}, "training: loss weights must not be negative"),
        ({"ema_decay": 1.0}, r"training.ema_decay: 1.0 is not in \[0, 1\)"),
        ({"threads": 0}, "training.threads: 0 is too small; at least 1"),
        ({"ema_decay": -0.1}, r"training.ema_decay: -0.1 is not in \[0, 1\)"),
        ({"loss": "l3"}, "training.loss: unknown 'l3'"),
        ({"loss": "huber", "huber_delta": 0.0}, "training.huber_delta: 0.0 is not positive"),
    ],
    ids=str,
)
def test_options_that_cannot_be_used(options: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        TrainingOptions(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": {"class_path": "os.system"}}, "'os.system' is not allowed"),
        ({"optimizer": {"class_path": "torch.optim.AdmW"}}, "did you mean 'AdamW'"),
        ({"optimizer": {"class_path": "torch.optim.AdamW", "lr": -1.0}}, "Invalid learning rate"),
        (
            {"scheduler": {"class_path": "torch.optim.lr_scheduler.StepLR"}},
            "torch.optim.lr_scheduler.StepLR: .*step_size",
        ),
    ],
    ids=["code", "typo", "range", "missing"],
)
def test_optimizers_that_cannot_be_made(options: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        make_task(**options).configure_optimizers()


def test_stress_is_computed_only_where_the_loss_wants_it():
    graph = labelled_graph(structures.crystal())
    assert make_task()(graph).stress is None
    assert make_task(stress_weight=1.0)(graph).stress.shape == (1, 3, 3)


def test_the_task_changes_no_parameter_names():
    task = make_task()
    names = {name.removeprefix("potential.") for name in task.state_dict()}
    assert names == set(Potential(MODEL, ELEMENTS, 8.0).state_dict())


def test_threads_are_set_for_a_while_only():
    before = torch.get_num_threads()
    with cpu_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    with cpu_threads(None):
        assert torch.get_num_threads() == before
