"""What is about to be trained, on what and where: a few lines at the start of a run."""

from __future__ import annotations

from typing import final

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import nn

from hermnet.datamodule import GraphDataModule
from hermnet.network import Network


@final
class Summary(Callback):
    """Prints a summary when training starts.

    Args:
        model: the model.
        data: its data.
        compiled: whether it is compiled.
    """

    def __init__(self, model: Network, data: GraphDataModule, compiled: bool) -> None:
        self._model = model
        self._data = data
        self._compiled = compiled

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print it, on the first process."""
        if trainer.is_global_zero:
            print("\n".join(self.lines(trainer)), flush=True)

    def lines(self, trainer: pl.Trainer) -> list[str]:
        """Parameters, frames and batches, and the machine."""
        parts = parameters(self._model)
        each = ", ".join(f"{name} {number:,}" for name, number in parts.items())
        frames = (f"{len(self._data.graphs(name)):,} {name}" for name in self._data.splits())
        n, dtype = trainer.world_size, str(self._model.dtype).removeprefix("torch.")
        return [
            f"parameters: {sum(parts.values()):,} ({each})",
            f"frames: {', '.join(frames)}; {_batches(trainer)} per epoch; "
            f"mean neighbors {self._model.mean_neighbors:.1f}",
            f"device: {_named(trainer.strategy.root_device)}{f', {n} processes' if n > 1 else ''}; "
            f"{dtype}; {'compiled' if self._compiled else 'not compiled'}",
        ]


def parameters(model: Network) -> dict[str, int]:
    """Number of parameters of each part of a model, parts without any left out."""
    parts: dict[str, nn.Module] = {
        "embedding": model.embedding,
        "interactions": model.router.layers,
        "readout": model.head,
    }
    counts = {name: _count(part) for name, part in parts.items()}
    counts["other"] = _count(model) - sum(counts.values())
    return {name: number for name, number in counts.items() if number}


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _batches(trainer: pl.Trainer) -> str:
    number = int(trainer.num_training_batches)
    shared = " of each process" if trainer.world_size > 1 else ""
    return f"{number:,} {'batch' if number == 1 else 'batches'}{shared}"


def _named(device: torch.device) -> str:
    if device.type != "cuda":
        return str(device)
    return f"{device} ({torch.cuda.get_device_name(device)})"
