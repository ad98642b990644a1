"""`EpochMeans`: means over an epoch that a checkpoint within the epoch can carry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, final

import torch
from torch import Tensor


@final
class EpochMeans:
    """Means over structures, as sums in float64; Lightning's own are lost when a run stops."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}  # (2,) sum and number of structures

    def add(self, name: str, mean: Tensor, n_systems: int) -> None:
        """Count a batch's mean; one that is not finite is of a batch that was skipped."""
        value = mean.detach().to(torch.float64)
        known = torch.isfinite(value)
        added = torch.stack((torch.where(known, value, 0.0), known.to(torch.float64))) * n_systems
        self._sums[name] = self._sums[name] + added if name in self._sums else added

    def means(self, reduce: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        """The means by name.

        Args:
            reduce: adds (n, 2) sums up over all processes.
        """
        if not self._sums:
            return {}
        total = reduce(torch.stack(list(self._sums.values())))
        means = total[:, 0] / total[:, 1].clamp(min=1)
        return dict(zip(self._sums, means.unbind(), strict=True))

    def state(self) -> dict[str, Tensor]:
        """The sums, for a checkpoint."""
        return {name: value.clone() for name, value in self._sums.items()}

    def load(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Go on from the sums of a checkpoint."""
        self._sums = {name: value.to(device) for name, value in state.items()}
