"""`EpochMeans`: means over an epoch that a checkpoint within the epoch can carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor

from hermnet.host.processes import added_up, n_processes
from hermnet.training.losses import LossTerm


@final
class EpochMeans:
    """Means over structures, as sums in float64; Lightning's own are lost when a run stops."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}  # (2,) sum and number of structures

    def add(self, name: str, mean: Tensor, n_systems: int | Tensor) -> None:
        """Count a batch's mean over its structures.

        One that is not finite is of a batch that was skipped.
        """
        value = mean.detach().to(torch.float64)
        known = torch.isfinite(value)
        added = torch.stack((torch.where(known, value, 0.0), known.to(torch.float64))) * n_systems
        self._sums[name] = self._sums[name] + added if name in self._sums else added

    def means(self) -> dict[str, Tensor]:
        """The means by name, over what all processes have counted."""
        if not self._sums:
            return {}
        total = added_up(torch.stack(list(self._sums.values())))
        means = total[:, 0] / total[:, 1].clamp(min=1)
        return dict(zip(self._sums, means.unbind(), strict=True))

    def state(self) -> dict[str, Tensor]:
        """The sums, for a checkpoint."""
        return {name: value.clone() for name, value in self._sums.items()}

    def load(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Go on from the sums of a checkpoint."""
        self._sums = {name: value.to(device) for name, value in state.items()}


def global_means(terms: Sequence[LossTerm], n_systems: int) -> tuple[list[Tensor], Any]:
    """The means over all processes' values, once DDP has averaged them, and the structures.

    A mean of each process's own would give the values of a process with few of them more weight.

    Args:
        terms: this process's sums and counts.
        n_systems: this process's structures.

    Returns:
        The means, and the number of structures of all processes, which is not waited for.
    """
    world = n_processes()
    if world == 1:
        return [term.total / _at_least_some(term.count) for term in terms], n_systems
    counts = torch.stack([term.count.to(torch.float64) for term in terms])
    *every, systems = added_up(torch.cat((counts, counts.new_tensor([n_systems])))).unbind()
    means = [t.total * world / _at_least_some(n) for t, n in zip(terms, every, strict=True)]
    return means, systems


def _at_least_some(count: Tensor) -> Tensor:
    """The count, or 1 where a batch lacks all labels of a kind."""
    return torch.where(count > 0, count, 1)
