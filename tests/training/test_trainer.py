from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch.nn.utils import get_total_norm

import tiny
from hermnet.datamodule import GraphDataModule
from hermnet.model_options import ModelOptions
from hermnet.potential import Potential
from hermnet.run.datasets import load_data
from hermnet.run.folder import RunFolder
from hermnet.run.workflows import workflow_of
from hermnet.training.options import TrainingOptions
from hermnet.training.task import PotentialTask
from hermnet.training.trainer import make_trainer


def test_ddp_sends_no_constant_buffers(tmp_path: Path):
    data_folder = tiny.data(tmp_path / "data")
    ddp = ("trainer.devices=2", "trainer.strategy=ddp", "trainer.logger=false")
    recipe = tiny.recipe(tmp_path, data_folder, *ddp)
    data = load_data(recipe, None)
    model = workflow_of(recipe.model).new(recipe, data)
    task = PotentialTask(model, recipe.training, recipe.to_dict())
    before = {name: buffer.clone() for name, buffer in task.named_buffers()}
    trainer = make_trainer(recipe, data, task, RunFolder(tmp_path / "run"), resume=False)
    assert trainer.strategy._ddp_kwargs["broadcast_buffers"] is False
    loss = task.training_step(next(iter(data.train_dataloader())), 0)
    loss.backward()
    after = dict(task.named_buffers())
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_clipping_by_a_known_norm_is_clipping():
    options = ModelOptions(n_channels=4, n_layers=1, n_radial=4)
    task = PotentialTask(Potential(options, (1, 8), 3.0), TrainingOptions(), {})
    for parameter in task.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer = torch.optim.SGD(task.parameters())
    task.gradient_norm = get_total_norm([p.grad for p in task.parameters()])
    task.configure_gradient_clipping(optimizer, 0.1, "norm")
    clipped = get_total_norm([p.grad for p in task.parameters()])
    torch.testing.assert_close(clipped, torch.tensor(0.1))
    assert task.gradient_norm is None, "of one step only"


def test_batches_are_copied_without_waiting():
    asked: list[Any] = []

    class Graph:
        def to(self, device: torch.device, non_blocking: bool = False) -> Graph:
            asked.append((device, non_blocking))
            return self

    graph, device = Graph(), torch.device("cpu")
    copied = GraphDataModule.transfer_batch_to_device(None, graph, device, 0)  # type: ignore[arg-type]
    assert copied is graph
    assert asked == [(device, True)]
