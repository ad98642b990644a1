"""The Lightning module: a potential, its loss, its errors, its optimizer."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytorch_lightning as pl
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from hermnet.checkpoint import describe, stored_training
from hermnet.class_path import build, locate
from hermnet.compiled import CompiledEvaluator
from hermnet.errors import InputError
from hermnet.graph import AtomicGraph
from hermnet.losses import LossTerm, loss_function, loss_terms
from hermnet.metrics import ErrorSums
from hermnet.potential import Potential, Prediction

_MILLI = 1000.0  # eV to meV


@dataclass(frozen=True)
class TrainingOptions:
    """A recipe's ``training`` section.

    Attributes:
        energy_weight: weight of the loss on energies per atom.
        forces_weight: weight of the loss on force components.
        stress_weight: weight of the loss on stress components; 0 leaves the stress out.
        loss: l1, l2 or huber, for all targets.
        huber_delta: where the Huber loss turns linear, in eV, eV/A, eV/A^3.
        optimizer: ``class_path`` of a torch optimizer and its arguments.
        scheduler: ``class_path`` of a torch learning-rate scheduler and its arguments.
        scheduler_interval: whether the scheduler counts epochs or steps.
        ema_decay: decay of the moving average of the weights, which is what is validated, tested
            and kept; null for none.
        compile: whether to compile the potential; pays after a minute or so of compiling.
        threads: CPU threads of torch; null leaves the choice to torch. Small molecules are fastest
            with one, and many threads on a busy machine can be many times slower.
        seed: of the initial weights.
    """

    energy_weight: float = 1.0
    forces_weight: float = 1.0
    stress_weight: float = 0.0
    loss: str = "l2"
    huber_delta: float = 0.01
    optimizer: dict[str, Any] = field(
        default_factory=lambda: {"class_path": "torch.optim.AdamW", "lr": 1e-3, "fused": True}
    )
    scheduler: dict[str, Any] | None = None
    scheduler_interval: Literal["epoch", "step"] = "epoch"
    ema_decay: float | None = 0.99
    compile: bool = False
    threads: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise InputError(f"training.threads: {self.threads} is too small; at least 1")
        weights = self.weights().values()
        if not all(0 <= weight < math.inf for weight in weights) or not any(weights):
            raise InputError(
                "training: loss weights must not be negative, and one must be positive"
            )
        if self.ema_decay is not None and not 0 <= self.ema_decay < 1:
            raise InputError(f"training.ema_decay: {self.ema_decay} is not in [0, 1)")
        loss_function(self.loss, self.huber_delta)

    def weights(self) -> dict[str, float]:
        """The weight of each target."""
        return {
            "energy": self.energy_weight,
            "forces": self.forces_weight,
            "stress": self.stress_weight,
        }


class PotentialTask(pl.LightningModule):
    """Trains and evaluates a potential.

    Args:
        potential: the potential, with reference energies set.
        options: the recipe's ``training`` section.
        recipe: the resolved recipe as plain types, kept in checkpoints.
    """

    def __init__(
        self, potential: Potential, options: TrainingOptions, recipe: Mapping[str, Any]
    ) -> None:
        super().__init__()
        self.potential = potential
        self.options = options
        self.recipe = dict(recipe)
        self._function = loss_function(options.loss, options.huber_delta)
        self._errors = ErrorSums()
        if options.compile:
            potential.evaluate = CompiledEvaluator()

    def forward(self, graph: AtomicGraph) -> Prediction:
        """Energy and forces, and the stress where the loss wants it."""
        return self.potential(graph, stress=self.options.stress_weight > 0)  # type: ignore[no-any-return]

    def training_step(self, graph: AtomicGraph, batch_idx: int) -> Tensor:
        """The weighted loss of a batch."""
        prediction: Prediction = self(graph)
        terms = loss_terms(prediction, graph, self._function)
        # The zero keeps every parameter in the graph, reference or bias, as DDP demands.
        loss: Tensor = 0.0 * prediction.energy.sum()
        for name, weight in self.options.weights().items():
            if weight > 0:
                mean = self._mean(terms[name])
                loss = loss + weight * mean
                self._log_loss(f"train_{name}_loss", mean, graph)
        self._log_loss("train_loss", loss, graph)
        return loss

    def _log_loss(self, name: str, value: Tensor, graph: AtomicGraph) -> None:
        self.log(name, value.detach(), on_step=False, on_epoch=True, batch_size=graph.n_systems)

    def _mean(self, term: LossTerm) -> Tensor:
        """The mean over all processes' values, once DDP has averaged the gradients."""
        world = self.trainer.world_size
        count = term.count
        if world > 1:
            count = self.trainer.strategy.reduce(count, reduce_op="sum")
        return term.total * world / count.clamp(min=1)  # a batch may lack all labels of a kind

    def on_validation_epoch_start(self) -> None:
        """Start counting errors anew."""
        self._errors = ErrorSums()

    def validation_step(self, graph: AtomicGraph, batch_idx: int) -> None:
        """Count a batch's errors."""
        self._errors.update(self(graph), graph)

    def on_validation_epoch_end(self) -> None:
        """Log the errors of all frames, in meV, meV/atom and meV/A."""
        self._log_errors("val")

    def on_test_epoch_start(self) -> None:
        """Start counting errors anew."""
        self._errors = ErrorSums()

    def test_step(self, graph: AtomicGraph, batch_idx: int) -> None:
        """Count a batch's errors."""
        self._errors.update(self(graph), graph)

    def on_test_epoch_end(self) -> None:
        """Log the errors of all frames, in meV, meV/atom and meV/A."""
        self._log_errors("test")

    def _log_errors(self, split: str) -> None:
        errors = self._errors.reduce(
            lambda sums: self.trainer.strategy.reduce(sums, reduce_op="sum")
        )
        for name, value in errors.items():
            key = f"{split}_{name}"
            self.log(key, _MILLI * value, prog_bar=key == self.monitor(), batch_size=1)

    def configure_optimizers(self) -> Any:
        """Optimizer and scheduler from their ``class_path``."""
        optimizer, scheduler = self._optimizer_and_scheduler()
        if scheduler is None:
            return optimizer
        schedule = {
            "scheduler": scheduler,
            "interval": self.options.scheduler_interval,
            "monitor": self.monitor(),
        }
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def _optimizer_and_scheduler(self) -> tuple[Optimizer, LRScheduler | None]:
        optimizer = build(self.options.optimizer, Optimizer, self.parameters())
        if self.options.scheduler is None:
            return optimizer, None
        return optimizer, build(self.options.scheduler, LRScheduler, optimizer)

    def monitor(self) -> str:
        """The validation error that decides what is best: of the forces where they are trained."""
        if self.options.forces_weight > 0:
            return "val_forces_mae"
        return "val_energy_per_atom_mae" if self.options.energy_weight > 0 else "val_stress_mae"

    def follows_validation(self) -> bool:
        """Whether the scheduler needs a validation error."""
        spec = self.options.scheduler
        return spec is not None and issubclass(
            locate(spec.get("class_path"), LRScheduler), ReduceLROnPlateau
        )

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Let a resumed run follow its own schedule where it differs from the one before.

        Optimizers and schedulers restore their options with their state, so that a cosine to epoch
        100 would stay one to epoch 30. The options are this recipe's instead, and the learning rate
        is what the schedule would have come to; what the optimizer knows of the gradients stays.
        """
        before, now = stored_training(checkpoint), self.recipe["training"]
        if all(before.get(key) == now[key] for key in ("optimizer", "scheduler")):
            return
        optimizer, scheduler = self._optimizer_and_scheduler()
        if isinstance(scheduler, ReduceLROnPlateau):
            return  # follows errors, not a count
        per_epoch = self.options.scheduler_interval == "epoch"
        n_steps = checkpoint["epoch"] + 1 if per_epoch else checkpoint["global_step"]
        if scheduler is not None:
            with warnings.catch_warnings():  # that there was no optimizer step
                warnings.simplefilter("ignore")
                for _ in range(n_steps):
                    scheduler.step()
        checkpoint["lr_schedulers"] = [] if scheduler is None else [scheduler.state_dict()]
        checkpoint["optimizer_states"][0]["param_groups"] = optimizer.state_dict()["param_groups"]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say what the checkpoint is."""
        checkpoint.update(describe(self.potential, self.recipe))
