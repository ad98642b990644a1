"""Batches whose loss or gradient is no number: written down and refused, or skipped."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import ase
import pytorch_lightning as pl
import torch
from ase.calculators.singlepoint import SinglePointCalculator
from pytorch_lightning.callbacks import Callback
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import SGD, Adam, Optimizer

from hermnet.datamodule import GraphDataModule
from hermnet.errors import InputError
from hermnet.graph import AtomicGraph
from hermnet.host.later import Later
from hermnet.host.processes import added_up
from hermnet.run.prediction import structures, write_extxyz
from hermnet.training.task import PotentialTask


@dataclass(frozen=True)
class _Step:
    """What a step was made of, and how it went."""

    epoch: int
    batches: list[tuple[int, AtomicGraph]]
    finite: Later  # bool: the loss of each batch, the gradient, and whether all processes are fine


@final
class FiniteSteps(Callback):
    """Judges loss and gradient of every step, so that no weight becomes NaN.

    On a CPU they are looked at before the step. Elsewhere looking would wait for the device; so the
    optimizer itself leaves the weights alone where something is no number, which a tensor tells it,
    and the host looks one step later, or before anything is validated or saved.

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
        self._pending: _Step | None = None  # the optimizer knows, the host does not

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
        self._settle(trainer)
        batches, losses = self._batches, self._losses
        self._batches, self._losses = [], []
        finite = torch.stack(losses).isfinite()
        own = torch.cat((finite, _gradients_are_finite(pl_module).reshape(1)))
        wrong = (added_up((~own.all()).float()) > 0).float()
        self._pending = _Step(
            trainer.current_epoch, batches, Later(torch.cat((own, wrong[None] == 0)))
        )
        if looks_later(own.device) and _can_skip(optimizer):
            optimizer.found_inf = wrong  # type: ignore[attr-defined]  # fused ones read it
            return
        if self._settle(trainer):
            optimizer.zero_grad(set_to_none=True)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at the last step; see `on_before_optimizer_step`."""
        self._settle(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at the last step; see `on_before_optimizer_step`."""
        self._settle(trainer)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Look at the last step; see `on_before_optimizer_step`."""
        self._settle(trainer)

    def _settle(self, trainer: pl.Trainer) -> bool:
        """Look at the step that is pending; whether it is to be skipped."""
        step, self._pending = self._pending, None
        if step is None:
            return False
        *finite, _, fine = step.finite.look().tolist()
        if fine:
            return False
        at_fault = [b for b, good in zip(step.batches, finite, strict=True) if not good]
        at_fault = at_fault or step.batches
        named = {index: self._data.train_frames(step.epoch, index) for index, _ in at_fault}
        frames = ", ".join(str(frame) for part in named.values() for frame in part)
        number = f"{at_fault[0][0] + 1} of epoch {step.epoch + 1}"
        what = "loss" if not all(finite) else "gradient"
        said = f"the {what} of batch {number} (train frames {frames}) is infinite or not a number"
        if self._skips:
            warnings.warn(f"{said}; skipped", stacklevel=2)
            return True
        process = f"-process-{trainer.global_rank}" if trainer.world_size > 1 else ""
        path = self._folder / f"epoch-{step.epoch + 1}-batch-{at_fault[0][0] + 1}{process}.xyz"
        write_extxyz(path, _with_labels(at_fault, named))
        raise InputError(
            f"{said}; the batch is in {path}. Look at these labels, lower the learning rate, or "
            "leave such batches out with training.non_finite=skip"
        )


def looks_later(device: torch.device) -> bool:
    """Whether looking at a number would hold up the device."""
    return device.type != "cpu"


def _can_skip(optimizer: Optimizer) -> bool:
    """Whether the optimizer leaves the weights alone where ``found_inf`` tells it to."""
    fused = all(group.get("fused") for group in optimizer.param_groups)
    return fused and isinstance(optimizer, Adam | SGD)


def _gradients_are_finite(module: pl.LightningModule) -> Tensor:
    norm = get_total_norm([p.grad for p in module.parameters() if p.grad is not None])
    if isinstance(module, PotentialTask):
        module.gradient_norm = norm  # clipping wants it too
    return norm.isfinite()


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
