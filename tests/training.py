"""Twenty steps of training on molecules of several sizes and elements, in float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytorch_lightning as pl
import torch
from ase.build import molecule
from torch import Tensor

import properties
from hermnet.checks import random_potential
from hermnet.datamodule import GraphDataModule
from hermnet.errors import InputError
from hermnet.graph import AtomicGraph
from hermnet.host import processes
from hermnet.host.processes import n_processes, rank
from hermnet.model_options import ModelOptions
from hermnet.neighbors import graph_from_atoms
from hermnet.training.losses import loss_function
from hermnet.training.objective import Objective
from hermnet.training.options import TrainingOptions
from hermnet.training.property_objective import PropertyObjective
from hermnet.training.targets import Labels
from hermnet.training.task import PotentialTask
from hermnet.training.trainer import quiet

ELEMENTS = (1, 6, 7, 8)
NAMES = ("CH3OH", "H2O", "CO2", "NH3", "CH4", "H2", "CH3CH2OH")  # most lack an element
N_FRAMES = {"train": 11, "val": 5, "test": 3}
CUTOFF = 3.0
STEPS = 20
TOGETHER = 4  # frames of a step, in however many processes


class Molecules(GraphDataModule):
    """Distorted molecules with labels out of thin air; some lack theirs.

    Args:
        batch_size: frames of a step and process.
        max_edges: bound of a batch, or None.
    """

    def __init__(self, batch_size: int, max_edges: int | None = None) -> None:
        super().__init__(
            batch_size=batch_size, eval_batch_size=2, max_edges_per_batch=max_edges, seed=3
        )

    @property
    def masks_labels(self) -> bool:
        return True

    def read(self) -> dict[str, list[AtomicGraph]]:
        frames = [_frame(seed) for seed in range(sum(N_FRAMES.values()))]
        return {split: [frames.pop() for _ in range(n)] for split, n in N_FRAMES.items()}


class Recorder(pl.Callback):
    """The gradients of the first step, and which frames each step has seen."""

    def __init__(self) -> None:
        self.gradients: dict[str, Tensor] = {}
        self.energies: list[Tensor] = []

    def on_train_batch_start(self, trainer: Any, task: Any, batch: AtomicGraph, index: int) -> None:
        energy = batch.scalars if batch.energy is None else batch.energy
        assert energy is not None
        self.energies.append(energy.clone())

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any
    ) -> None:
        for name, parameter in pl_module.named_parameters():
            if parameter.requires_grad:
                assert parameter.grad is not None, name
                self.gradients.setdefault(name, parameter.grad.clone())


def fit(case: dict[str, Any]) -> dict[str, Any]:
    """Train in this process, or its part in a group; what came of it.

    Args:
        case: ``model`` and ``training`` options, ``frozen`` parts of names, ``max_edges``,
            ``trainer`` options, and ``readout`` for properties.
    """
    training = TrainingOptions(
        **{"forces_weight": 10.0, "loss": "huber", **case.get("training", {})}
    )
    task, data = _task(case, training)
    for name, parameter in task.named_parameters():
        parameter.requires_grad_(not any(part in name for part in case.get("frozen", ())))
    before = [parameter.detach().clone() for parameter in task.parameters()]
    recorder = Recorder()
    several = {"strategy": "ddp", "devices": n_processes()} if n_processes() > 1 else {}
    with quiet():
        trainer = pl.Trainer(
            accelerator="cpu",
            callbacks=[recorder],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            inference_mode=False,
            use_distributed_sampler=False,
            gradient_clip_val=1.0,
            **{"max_steps": STEPS, **several, **case.get("trainer", {})},
        )
        trainer.fit(task, data)
        fitted = {name: value.double() for name, value in trainer.callback_metrics.items()}
        trainer.test(task, data, verbose=False)
    tested = {name: value.double() for name, value in trainer.callback_metrics.items()}
    return {
        "rank": rank(),
        "gradients": recorder.gradients,
        "weights": {k: v.detach().clone() for k, v in task.named_parameters()},
        "moved": max(
            float((now.detach() - then).abs().max())
            for now, then in zip(task.parameters(), before, strict=True)
        ),
        "energies": recorder.energies,
        "errors": {**fitted, **tested},
    }


def fit_all(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All cases one after the other."""
    return [fit(case) for case in cases]


def in_group(cases: list[dict[str, Any]]) -> dict[str, Any]:
    """All cases, and what the processes agree on."""
    return {"fits": fit_all(cases), "agreed": _agreed()}


def _agreed() -> dict[str, Any]:
    number = torch.tensor([rank() + 1.0])

    def refuse() -> int:
        raise InputError(f"refused by {rank()}")

    def on_last() -> int:
        return refuse() if rank() == n_processes() - 1 else 1

    return {
        "sum": processes.added_up(number),
        "own number": number,
        "from first": processes.from_first(rank),
        "first refuses": _message(lambda: processes.from_first(refuse)),
        "all alike": processes.together(lambda: rank() + 7, lambda made: "the same"),
        "last refuses": _message(lambda: processes.together(on_last, str)),
        "all refuse": _message(lambda: processes.together(refuse, str)),
        "different": _message(lambda: processes.together(rank, lambda made: f"{made} frames")),
    }


def _message(do: Callable[[], object]) -> str:
    try:
        do()
    except InputError as error:
        return str(error)
    return "nothing was raised"


def deviation(found: dict[str, Any], expected: dict[str, Any]) -> dict[str, float]:
    """Largest differences of gradients, weights and errors, each in terms of the largest value."""
    apart = {}
    for what in ("gradients", "weights", "errors"):
        assert found[what].keys() == expected[what].keys()
        size = max(float(value.abs().max()) for value in expected[what].values())
        pairs = [(found[what][name], value) for name, value in expected[what].items()]
        if what == "errors":
            apart[what] = max(float((a - b).abs() / b.abs().clamp(min=1e-9)) for a, b in pairs)
        else:
            apart[what] = max(float((a - b).abs().max()) for a, b in pairs) / size
    return apart


def _task(case: dict[str, Any], training: TrainingOptions) -> tuple[PotentialTask, GraphDataModule]:
    batch_size = TOGETHER // n_processes()
    if "readout" in case:
        model = properties.random_model(case["readout"], **case.get("model", {}))
        molecules = properties.Molecules(batch_size=batch_size)
        molecules.set_cutoff(properties.CUTOFF)
        labels = Labels.locate(
            model.targets, model.units, molecules.scalar_names, molecules.scalar_units
        )
        function = loss_function(training.loss, training.huber_delta)
        objective: Objective = PropertyObjective(model, labels, {}, function)
        return PotentialTask(model, training, {}, objective), molecules
    options = ModelOptions(
        **{
            "n_channels": 4,
            "n_layers": 2,
            "n_radial": 4,
            "cutoff": CUTOFF,
            "dtype": "float64",
            **case.get("model", {}),
        }
    )
    potential = random_potential(options, ELEMENTS)
    data = Molecules(batch_size, case.get("max_edges"))
    data.set_cutoff(CUTOFF)
    return PotentialTask(potential, training, {}), data


def _frame(seed: int) -> AtomicGraph:
    atoms = molecule(NAMES[seed % len(NAMES)])
    atoms.rattle(0.05, seed=seed)
    graph = graph_from_atoms(atoms)
    generator = torch.Generator().manual_seed(seed)
    energy, forces = (
        torch.randn(shape, dtype=torch.float64, generator=generator)
        for shape in ((1,), (len(atoms), 3))
    )
    if seed % 6 == 5:
        forces = torch.full_like(forces, torch.nan)
    return replace(graph, energy=energy, forces=forces)
