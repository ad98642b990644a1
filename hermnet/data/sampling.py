"""The order of frames, and how they form batches and are shared between processes.

Everything is a function of seed and epoch only, so that processes agree without a word.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from hermnet.errors import InputError
from hermnet.graph import AtomicGraph, collate

Array = NDArray[Any]
Share = tuple[int, int]  # which of how many processes
_WINDOW = 20  # batches within which frames are put in order of their size


@final
class EpochSampler(Sampler[int]):
    """All indices once per epoch, or as often as their weights say, in an order of its own.

    The global random state is neither read nor advanced, so that the order is the same whatever
    else runs, after a resume, and on every rank. Lightning calls `set_epoch`.

    Args:
        n_frames: number of indices.
        seed: any number from 0.
        weights: how often each index comes in an epoch, on average over epochs where it is no
            whole number; None for once.
    """

    def __init__(self, n_frames: int, seed: int, weights: Sequence[float] | None = None) -> None:
        self.n_frames = n_frames
        self.seed = seed
        self.epoch = 0
        self._ends = None if weights is None else np.cumsum(np.asarray(weights, dtype=np.float64))

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next iteration gives."""
        self.epoch = epoch

    def order(self) -> Array:
        """The indices of this epoch, (len(self),)."""
        rng = np.random.default_rng([self.seed, self.epoch])
        if self._ends is None:
            return rng.permutation(self.n_frames)
        # Systematic sampling: evenly spaced points over the weights laid end to end.
        points = (np.arange(len(self)) + rng.random()) * (self._ends[-1] / len(self))
        return rng.permutation(np.searchsorted(self._ends, points, side="right"))

    def __iter__(self) -> Iterator[int]:
        """The indices of this epoch."""
        return iter(self.order().tolist())

    def __len__(self) -> int:
        """Number of indices in an epoch."""
        return self.n_frames if self._ends is None else max(1, round(float(self._ends[-1])))


@final
class EvenBatches(Sampler[list[int]]):
    """Batches of equal numbers of frames, shared between processes.

    With N processes a step has the very frames that it has in one process with a batch N times as
    large: each process gets every N-th of them. Where the last ones are fewer than N, some
    processes get an empty batch, so that all make the same number of steps.

    Args:
        sampler: gives the order of the frames.
        batch_size: frames in a batch of one process.
        share: which of how many processes this is.
    """

    def __init__(self, sampler: EpochSampler, batch_size: int, share: Share = (0, 1)) -> None:
        self.sampler = sampler  # Lightning sets its epoch
        self._size = batch_size
        self._rank, self._world = share

    def __len__(self) -> int:
        """Number of steps in an epoch."""
        return -(-len(self.sampler) // (self._size * self._world))

    def __iter__(self) -> Iterator[list[int]]:
        """This epoch's batches of this process."""
        own = self.sampler.order()[self._rank :: self._world]
        for step in range(len(self)):
            yield own[step * self._size : (step + 1) * self._size].tolist()


@final
class BoundedBatches(Sampler[list[int]]):
    """Batches bounded by size, such as edges or atoms, instead of by the number of frames.

    The frames of an epoch are laid end to end, by their size, and cut into pieces of equal length;
    a frame belongs to the piece in which it begins. All epochs thus have the same number of
    batches, and no batch is larger than the limit. Frames of like size come together, in windows of
    a few batches, so that batches take like times; batches come in random order.

    Args:
        sampler: gives the order of the frames.
        sizes: (n_frames,) size of each frame.
        limit: largest sum of sizes in a batch.
        what: what is counted, for messages.
        share: which of how many processes this is; each gets as many batches, of its own, and the
            limit holds for each. Where there is little to share, some are empty.

    Raises:
        InputError: if the limit is less than three times the largest frame.
    """

    def __init__(
        self,
        sampler: EpochSampler,
        sizes: Sequence[int],
        limit: int,
        what: str,
        share: Share = (0, 1),
    ) -> None:
        self.sampler = sampler  # Lightning sets its epoch
        self._sizes = np.maximum(np.asarray(sizes, dtype=np.int64), 1)
        self._rank, self._world = share
        largest = int(self._sizes.max())
        if limit < 3 * largest:
            raise InputError(
                f"max_{what}_per_batch: {limit} leaves too little room beside the {largest} {what} "
                f"of frame {int(self._sizes.argmax())}; give at least {3 * largest}"
            )
        # A piece and the rest of the last frame that begins in it fit into the limit; with three
        # times the largest frame no piece is so short that none begins in it.
        total = int(self._sizes[sampler.order()].sum())
        n_batches = max(1, -(-total // (limit - largest)))
        self._n_batches = -(-n_batches // self._world) * self._world

    def __len__(self) -> int:
        """Number of batches of this process in an epoch."""
        return self._n_batches // self._world

    def __iter__(self) -> Iterator[list[int]]:
        """This epoch's batches of this process."""
        order = self.sampler.order()
        rng = np.random.default_rng([self.sampler.seed, self.sampler.epoch, 1])
        window = max(1, _WINDOW * len(order) // self._n_batches)
        for start in range(0, len(order), window):
            part = order[start : start + window]
            order[start : start + window] = part[np.argsort(self._sizes[part], kind="stable")]
        sizes = self._sizes[order]
        piece = (np.cumsum(sizes) - sizes) * self._n_batches // int(sizes.sum())
        batches = np.split(order, np.searchsorted(piece, np.arange(1, self._n_batches)))
        for k in rng.permutation(self._n_batches)[self._rank :: self._world]:
            yield batches[k].tolist()


def filled(sizes: Sequence[int], limit: int, n_most: int) -> list[list[int]]:
    """Indices in order, as many to a batch as fit.

    Args:
        sizes: (n_frames,) size of each frame.
        limit: largest sum of sizes in a batch; a larger frame is alone.
        n_most: largest number of frames in a batch.
    """
    batches: list[list[int]] = []
    room = 0
    for index, size in enumerate(sizes):
        if not batches or size > room or len(batches[-1]) == n_most:
            batches.append([])
            room = limit
        batches[-1].append(index)
        room -= size
    return batches


def shared(batches: Sequence[list[int]], share: Share) -> list[list[int]]:
    """Every N-th batch, for one of N processes; at the end an empty one where others have more."""
    rank, world = share
    n_each = -(-len(batches) // world)
    own = [list(batch) for batch in batches[rank::world]]
    return own + [[]] * (n_each - len(own))


@final
class Collation:
    """Joins the graphs of a batch; those of an empty one are a graph without structures.

    Args:
        graphs: where the batches come from; the first says which labels there are.
    """

    def __init__(self, graphs: Sequence[AtomicGraph]) -> None:
        self._graphs = graphs

    def __call__(self, graphs: Sequence[AtomicGraph]) -> AtomicGraph:
        """One graph."""
        return collate(graphs) if graphs else self._graphs[0].nothing()
