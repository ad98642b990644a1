"""The Lightning module: a model, its objective, its optimizer."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins import Precision
from pytorch_lightning.utilities import GradClipAlgorithmType
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from hermnet.checkpoints.checkpoint import amend, describe, finished_epochs, stored_training
from hermnet.compiled import CompiledEvaluator
from hermnet.graph import AtomicGraph
from hermnet.host.processes import added_up
from hermnet.network import Network
from hermnet.potential import Potential
from hermnet.recipes.class_path import build, locate
from hermnet.training.averages import EpochMeans, global_means
from hermnet.training.freezing import Frozen
from hermnet.training.losses import loss_function
from hermnet.training.objective import EnergyObjective, Objective
from hermnet.training.options import TrainingOptions
from hermnet.training.warmup import warm_up

_LOSSES = "train_losses"  # in a checkpoint


class PotentialTask(pl.LightningModule):
    """Trains and evaluates a model.

    Args:
        potential: the model, a potential or one of properties, with what the training set tells
            set. This is what it is called in the names of weights, whatever it predicts.
        options: the recipe's ``training`` section.
        recipe: the resolved recipe as plain types, kept in checkpoints.
        objective: what is minimized; by default energies, forces and stress of a potential.
        frozen: the weights that do not change; by default none.
        training_data: what checkpoints say of the training data, as plain types.
    """

    def __init__(
        self,
        potential: Network,
        options: TrainingOptions,
        recipe: Mapping[str, Any],
        objective: Objective | None = None,
        frozen: Frozen | None = None,
        training_data: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.potential = potential
        self.options = options
        self.recipe = dict(recipe)
        self.frozen = frozen or Frozen()
        self.training_data = dict(training_data or {})
        self.gradient_norm: Tensor | None = None  # of the step that is due, where somebody knows it
        self._losses = EpochMeans()
        if objective is None:
            function = loss_function(options.loss, options.huber_delta)
            objective = EnergyObjective(_energies(potential), options.weights(), function)
        self.objective = objective
        self._errors = objective.errors()
        if options.compile is True:
            _energies(potential).evaluate = CompiledEvaluator()

    def forward(self, graph: AtomicGraph) -> Any:
        """The prediction, with everything that the loss wants."""
        return self.objective.predict(graph)

    def training_step(self, graph: AtomicGraph, batch_idx: int) -> Tensor:
        """The weighted loss of a batch."""
        prediction = self(graph)
        terms = self.objective.terms(prediction, graph)
        now = {**self.objective.weights(), **self.options.scheduled(self.current_epoch)}
        weights = {name: weight for name, weight in now.items() if weight > 0}
        means, n_systems = global_means([terms[name] for name in weights], graph.n_systems)
        # The zero keeps every parameter in the graph, reference or bias, as DDP demands.
        loss: Tensor = 0.0 * self.objective.output(prediction).sum()
        for (name, weight), mean in zip(weights.items(), means, strict=True):
            loss = loss + weight * mean
            self._log_loss(f"train_{name}_loss", mean, n_systems)
        self._log_loss("train_loss", loss, n_systems)
        return loss

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Gradients of the parameters only: without saying so, those of edge vectors come along."""
        wanted = [parameter for parameter in self.parameters() if parameter.requires_grad]
        super().backward(loss, *args, inputs=wanted, **kwargs)

    def _log_loss(self, name: str, value: Tensor, n_systems: Any) -> None:
        self._losses.add(name, value, n_systems)

    def on_train_epoch_start(self) -> None:
        """Start the epoch's losses anew; a run resumed within an epoch does not come by."""
        self._losses = EpochMeans()

    def on_train_epoch_end(self) -> None:
        """Log the epoch's losses."""
        for name, mean in self._losses.means().items():
            self.log(name, mean, batch_size=1)

    def on_validation_epoch_start(self) -> None:
        """Start counting errors anew."""
        self._errors = self.objective.errors()

    def validation_step(self, graph: AtomicGraph, batch_idx: int) -> None:
        """Count a batch's errors."""
        self._errors.update(self(graph), graph)

    def on_validation_epoch_end(self) -> None:
        """Log the errors of all frames."""
        self._log_errors("val")

    def on_test_epoch_start(self) -> None:
        """Start counting errors anew."""
        self._errors = self.objective.errors()

    def test_step(self, graph: AtomicGraph, batch_idx: int) -> None:
        """Count a batch's errors."""
        self._errors.update(self(graph), graph)

    def on_test_epoch_end(self) -> None:
        """Log the errors of all frames."""
        self._log_errors("test")

    def _log_errors(self, split: str) -> None:
        errors = self._errors.reduce(lambda sums: added_up(sums.to(self.device)))
        for name, value in self.objective.logged(errors).items():
            key = f"{split}_{name}"
            exact = torch.tensor(value, dtype=torch.float64, device=self.device)
            # All processes have the same value; Lightning wants to hear that they share it.
            self.log(key, exact, prog_bar=key == self.monitor(), batch_size=1, sync_dist=True)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip as the trainer is told to, by the norm that is known already where there is one.

        Lightning's mixed precision refuses to where the optimizer is fused, for the sake of scaled
        gradients; the only mixed precision that we take is bfloat16, which scales none.
        """
        algorithm = GradClipAlgorithmType(gradient_clip_algorithm or "norm")
        norm, self.gradient_norm = self.gradient_norm, None
        if gradient_clip_val and norm is not None and algorithm == GradClipAlgorithmType.NORM:
            clip_grads_with_norm_(self.parameters(), gradient_clip_val, norm)
            return
        plugin = self.trainer.precision_plugin
        Precision.clip_gradients(plugin, optimizer, gradient_clip_val or 0.0, algorithm)

    def configure_optimizers(self) -> Any:
        """Optimizer and scheduler from their ``class_path``."""
        optimizer, scheduler = self._optimizer_and_scheduler()
        self.frozen.guard(optimizer)
        warm_up(optimizer, self.options.warmup_steps, lambda: self.trainer.global_step)
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
        """The validation error that decides what is best."""
        return f"val_{self.objective.monitor()}"

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
        self._losses.load(checkpoint.get(_LOSSES, {}), self.device)
        before, now = stored_training(checkpoint), self.recipe["training"]
        if all(before.get(key) == now[key] for key in ("optimizer", "scheduler")):
            return
        optimizer, scheduler = self._optimizer_and_scheduler()
        if isinstance(scheduler, ReduceLROnPlateau):
            return  # follows errors, not a count
        per_epoch = self.options.scheduler_interval == "epoch"
        n_steps = finished_epochs(checkpoint) if per_epoch else checkpoint["global_step"]
        if scheduler is not None:
            with warnings.catch_warnings():  # that there was no optimizer step
                warnings.simplefilter("ignore")
                for _ in range(n_steps):
                    scheduler.step()
        checkpoint["lr_schedulers"] = [] if scheduler is None else [scheduler.state_dict()]
        checkpoint["optimizer_states"][0]["param_groups"] = optimizer.state_dict()["param_groups"]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say what the checkpoint is."""
        amend(checkpoint, describe(self.potential, self.recipe, self.training_data))
        checkpoint[_LOSSES] = self._losses.state()


def _energies(model: Network) -> Potential:
    if not isinstance(model, Potential):
        raise TypeError("a model of properties needs an objective and cannot be compiled")
    return model
