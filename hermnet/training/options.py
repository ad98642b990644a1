"""`TrainingOptions`: a recipe's ``training`` section."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from hermnet.elements import number
from hermnet.errors import InputError, nearest
from hermnet.training.losses import loss_function

_SCHEDULED = {"energy_weight": "energy", "forces_weight": "forces", "stress_weight": "stress"}


@dataclass(frozen=True)
class TrainingOptions:
    """A recipe's ``training`` section.

    Attributes:
        energy_weight: weight of the loss on energies per atom.
        forces_weight: weight of the loss on force components.
        stress_weight: weight of the loss on stress components; 0 leaves the stress out.
        target_weights: for readouts other than energy, the weight of the loss on each target, by
            name; 1 by default. The weights above do not count then.
        loss_schedule: loss weights from an epoch on, such as ``[{epoch: 300, energy_weight:
            100}]``; what an entry leaves out stays as it was. The first epoch is 0.
        element_weights: how much the forces on an element count in the loss, by symbol; 1 for those
            that are not named.
        loss: l1, l2 or huber, for all targets.
        huber_delta: where the Huber loss turns linear, in eV, eV/A, eV/A^3; for properties as a
            fraction of the target's scale.
        optimizer: ``class_path`` of a torch optimizer and its arguments.
        scheduler: ``class_path`` of a torch learning-rate scheduler and its arguments.
        scheduler_interval: whether the scheduler counts epochs or steps.
        warmup_steps: number of steps in which the learning rate rises from 0 to what the scheduler
            says.
        ema_decay: decay of the moving average of the weights, which is what is validated, tested
            and kept; null for none.
        freeze: what stays as it is: embedding, interactions, readout, names of relations, or with
            ``model.init_from`` known for all that the checkpoint knew.
        non_finite: what to do with a batch whose loss or gradient is infinite or not a number:
            ``stop`` and write it down, or ``skip`` it.
        checkpoint_minutes: after how much time a checkpoint is written within an epoch too; null
            for no such limit.
        checkpoint_steps: the same as a number of steps.
        keep_last: how many of the latest checkpoints are kept besides the best.
        compile: whether to compile the potential, which takes a minute or two at the first step;
            ``auto`` does where the number and size of the steps say that it saves several times
            that. A resumed run does as the run before.
        matmul_precision: of products of float32 matrices, in torch's words: ``highest`` for all,
            ``high`` for TensorFloat32 where a GPU has it, ``medium`` for bfloat16.
        threads: CPU threads of torch; null leaves the choice to torch. Small molecules are fastest
            with one, and many threads on a busy machine can be many times slower.
        seed: of the initial weights.
    """

    energy_weight: float = 1.0
    forces_weight: float = 1.0
    stress_weight: float = 0.0
    target_weights: dict[str, float] = field(default_factory=dict)
    loss_schedule: list[dict[str, float]] = field(default_factory=list)
    element_weights: dict[str, float] = field(default_factory=dict)
    loss: str = "l2"
    huber_delta: float = 0.01
    optimizer: dict[str, Any] = field(
        default_factory=lambda: {"class_path": "torch.optim.AdamW", "lr": 1e-3, "fused": True}
    )
    scheduler: dict[str, Any] | None = None
    scheduler_interval: Literal["epoch", "step"] = "epoch"
    warmup_steps: int = 0
    ema_decay: float | None = 0.99
    freeze: list[str] = field(default_factory=list)
    non_finite: Literal["stop", "skip"] = "stop"
    checkpoint_minutes: float | None = 10.0
    checkpoint_steps: int | None = None
    keep_last: int = 1
    compile: bool | Literal["auto"] = "auto"
    matmul_precision: Literal["highest", "high", "medium"] = "highest"
    threads: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        self._check_weights()
        self._check_schedule()
        if self.ema_decay is not None and not 0 <= self.ema_decay < 1:
            raise InputError(f"training.ema_decay: {self.ema_decay} is not in [0, 1)")
        if self.checkpoint_minutes is not None and not self.checkpoint_minutes > 0:
            raise InputError(
                f"training.checkpoint_minutes: {self.checkpoint_minutes} is not positive"
            )
        least = {"threads": 1, "checkpoint_steps": 1, "keep_last": 1, "warmup_steps": 0}
        for name, bound in least.items():
            value = getattr(self, name)
            if value is not None and value < bound:
                raise InputError(f"training.{name}: {value} is too small; at least {bound}")
        loss_function(self.loss, self.huber_delta)

    def weights(self) -> dict[str, float]:
        """The weights of energy, forces and stress at the start."""
        return {
            "energy": self.energy_weight,
            "forces": self.forces_weight,
            "stress": self.stress_weight,
        }

    def scheduled(self, epoch: int) -> dict[str, float]:
        """What `loss_schedule` says of the weights in an epoch, by target."""
        due = [entry for entry in self.loss_schedule if entry["epoch"] <= epoch]
        found: dict[str, float] = {}
        for entry in sorted(due, key=lambda entry: entry["epoch"]):
            found |= {target: entry[key] for key, target in _SCHEDULED.items() if key in entry}
        return found

    def force_weights(self) -> dict[int, float]:
        """`element_weights` by atomic number."""
        return {number(name): weight for name, weight in self.element_weights.items()}

    def _check_weights(self) -> None:
        weights = self.weights().values()
        if not all(map(_is_weight, weights)) or not any(weights):
            raise InputError(
                "training: loss weights must not be negative, and one must be positive"
            )
        if not all(map(_is_weight, self.target_weights.values())):
            raise InputError("training.target_weights: they must not be negative")
        for name, weight in self.element_weights.items():
            try:
                number(name)
            except InputError as error:
                raise InputError(f"training.element_weights: {error}") from error
            if not (_is_weight(weight) and weight > 0):
                raise InputError(f"training.element_weights: {name}: {weight} is not positive")

    def _check_schedule(self) -> None:
        start = self.weights()
        for entry in self.loss_schedule:
            unknown = [key for key in entry if key != "epoch" and key not in _SCHEDULED]
            if unknown:
                hint = nearest(unknown[0], ["epoch", *_SCHEDULED])
                raise InputError(f"training.loss_schedule: unknown '{unknown[0]}'; {hint}")
            if "epoch" not in entry:
                raise InputError("training.loss_schedule: an entry does not say from which epoch")
            for key, target in _SCHEDULED.items():
                if not _is_weight(entry.get(key, 0.0)):
                    raise InputError(f"training.loss_schedule: {key}: {entry[key]} is negative")
                if entry.get(key, 0.0) > 0 and start[target] == 0:
                    raise InputError(
                        f"training.loss_schedule: {key} is 0 at the start, so the {target} would "
                        "not be predicted; start with a small weight"
                    )


def _is_weight(value: float) -> bool:
    return 0 <= value < math.inf
