"""Batches whose loss or gradient is no number: written down and refused, or skipped."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, final

import ase
import pytorch_lightning as pl
import torch
from ase.calculators.singlepoint import SinglePointCalculator
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.plugins import MixedPrecision
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from hermnet.datamodule import GraphDataModule
from hermnet.errors import InputError
from hermnet.graph import AtomicGraph
from hermnet.run.prediction import structures, write_extxyz


@final
class FiniteSteps(Callback):
    """Looks at loss and gradient before every step, so that no weight becomes NaN.

    Args:
        folder: where batches are written, extended xyz with their labels and ``frame``, the index
            among the training frames.
        data: knows which frames are in a batch.
        skips: whether such a step is left out with a warning, instead of ending the run.
    """

    def __init__(self, folder: Path, data: GraphDataModule, skips: bool) -> None:
        self._folder = folder
        self._data = data
        self._skips = skips
        self._batches: list[tuple[int, AtomicGraph]] = []  # since the last step
        self._losses: list[Tensor] = []

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Remember the batch until the step."""
        self._batches.append((batch_idx, batch))

    def on_before_backward(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor
    ) -> None:
        """Remember its loss."""
        self._losses.append(loss.detach())

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """Refuse or skip the step, where something is infinite or not a number.

        Raises:
            InputError: it names the frames and the file that holds them.
        """
        batches, losses = self._batches, self._losses
        self._batches, self._losses = [], []
        finite = torch.stack(losses).isfinite()
        fine = finite.all() & _gradients_are_finite(trainer, pl_module)
        if not trainer.strategy.reduce_boolean_decision(not bool(fine), all=False):
            return
        at_fault = [b for b, good in zip(batches, finite.tolist(), strict=True) if not good]
        epoch, at_fault = trainer.current_epoch, at_fault or batches
        named = {index: self._data.train_frames(epoch, index) for index, _ in at_fault}
        frames = ", ".join(str(frame) for part in named.values() for frame in part)
        number = f"{at_fault[0][0] + 1} of epoch {epoch + 1}"
        what = "loss" if not bool(finite.all()) else "gradient"
        said = f"the {what} of batch {number} (train frames {frames}) is infinite or not a number"
        if self._skips:
            optimizer.zero_grad(set_to_none=True)
            warnings.warn(f"{said}; skipped", stacklevel=2)
            return
        process = f"-process-{trainer.global_rank}" if trainer.world_size > 1 else ""
        path = self._folder / f"epoch-{epoch + 1}-batch-{at_fault[0][0] + 1}{process}.xyz"
        write_extxyz(path, _with_labels(at_fault, named))
        raise InputError(
            f"{said}; the batch is in {path}. Look at these labels, lower the learning rate, or "
            "leave such batches out with training.non_finite=skip"
        )


def _gradients_are_finite(trainer: pl.Trainer, module: pl.LightningModule) -> Tensor:
    plugin = trainer.precision_plugin
    if isinstance(plugin, MixedPrecision) and plugin.scaler is not None:
        return torch.tensor(True, device=module.device)  # the scaler skips these steps by itself
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    return get_total_norm(gradients).isfinite()


def _with_labels(
    batches: Sequence[tuple[int, AtomicGraph]], frames: dict[int, list[int]]
) -> Iterator[ase.Atoms]:
    for index, graph in batches:
        for system, rows, atoms in structures(graph):
            atoms.info["frame"] = frames[index][system]
            results = {
                name: values.cpu().numpy()
                for name, values in (
                    ("energy", None if graph.energy is None else graph.energy[system]),
                    ("forces", None if graph.forces is None else graph.forces[rows]),
                    ("stress", None if graph.stress is None else graph.stress[system]),
                )
                if values is not None
            }
            if results:
                atoms.calc = SinglePointCalculator(atoms, **results)
            for name in ("scalars", "dipole"):
                values = getattr(graph, name)
                if values is not None:
                    atoms.info[name] = values[system].cpu().numpy()
            yield atoms
