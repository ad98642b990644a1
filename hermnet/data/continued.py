"""An epoch that goes on where a run has stopped in it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import final

from torch.utils.data import Sampler

from hermnet.data.sampling import BoundedBatches, EvenBatches


@final
class ContinuedBatches(Sampler[list[int]]):
    """Batches without the first ones of one epoch, which nobody reads any more.

    Args:
        batches: all batches of an epoch.
        epoch: the epoch that goes on.
        n_had: how many of its batches are left out.
    """

    def __init__(self, batches: EvenBatches | BoundedBatches, epoch: int, n_had: int) -> None:
        self.sampler = (
            batches.sampler
        )  # Lightning sets its epoch, but not before workers ask for it
        self.sampler.set_epoch(epoch)
        self._batches = batches
        self._epoch, self._n_had = epoch, n_had

    def __len__(self) -> int:
        """Number of batches of a whole epoch, as Lightning counts on from those left out."""
        return len(self._batches)

    def __iter__(self) -> Iterator[list[int]]:
        """The rest of the epoch, or all of another one."""
        left_out = self._n_had if self.sampler.epoch == self._epoch else 0
        return islice(iter(self._batches), left_out, None)
