"""`GraphDataModule`: from a reader's frames to checked, linked and batched graphs."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader

from hermnet.data.cache import facts_of
from hermnet.data.checking import checked, linked_checked
from hermnet.data.continued import ContinuedBatches
from hermnet.data.facts import Facts
from hermnet.data.graphs import GraphSequence
from hermnet.data.loading import Loader
from hermnet.data.sampling import (
    BoundedBatches,
    Collation,
    EpochSampler,
    EvenBatches,
    Share,
    filled,
    shared,
)
from hermnet.data.validity import CLOSEST, warn_of_loners
from hermnet.errors import InputError, at_least
from hermnet.graph import AtomicGraph
from hermnet.host.interrupts import leave_signals_to_the_run
from hermnet.host.processes import from_first, this_process
from hermnet.registry import Registry

_NO_TEST = ("train", "val", "predict")  # splits with another purpose than to be tested on


class GraphDataModule(LightningDataModule, ABC):
    """Structures with labels, by split; a subclass says where they come from.

    A subclass implements `read` and adds its options as keyword arguments: its signature is the
    recipe's ``data`` section, the Args of its docstring the prose.

    Attributes:
        scalar_names: names of the columns of the graphs' `scalars`; a value may be NaN where a
            frame lacks it.
        scalar_units: their units, one for each name, empty for a pure number.

    Args:
        batch_size: structures per training step and process.
        eval_batch_size: structures per step of validation, test and prediction.
        max_edges_per_batch: bounds batches of a process by their edges: training batches have as
            many structures as fit, instead of `batch_size`, and evaluation never more.
        num_workers: processes that read and collate batches beside the training; 0 is fast for data
            that are in memory.
        seed: of the order of the training frames and of random splits.
    """

    scalar_names: tuple[str, ...] = ()
    scalar_units: tuple[str, ...] = ()

    def __init__(
        self,
        *,
        batch_size: int = 10,
        eval_batch_size: int = 100,
        max_edges_per_batch: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.batch_size = at_least("batch_size", batch_size, 1)
        self.eval_batch_size = at_least("eval_batch_size", eval_batch_size, 1)
        self.max_edges = max_edges_per_batch
        if max_edges_per_batch is not None:
            at_least("max_edges_per_batch", max_edges_per_batch, 1)
        self.num_workers = at_least("num_workers", num_workers, 0)
        self.seed = at_least("seed", seed, 0)
        self._cutoff: float | None = None
        self._frames: dict[str, GraphSequence] | None = None  # as read, without edges
        self._linked: dict[float, dict[str, GraphSequence]] = {}  # by cutoff
        self._facts: dict[tuple[str, float], Facts] = {}  # by split and cutoff
        self._start = (0, 0)  # epoch of the first batch and how many come before it

    @abstractmethod
    def read(self) -> Mapping[str, Sequence[AtomicGraph]]:
        """The frames of each split: graphs of one structure, without edges, with their labels.

        Returns:
            ``train``, ``val`` and ``test``, and any other split that there is; only ``train`` must
            be there. Units are eV, A, eV/A and eV/A^3. A `GraphSequence` that is not in memory is
            read frame by frame, anything else is held in memory.
        """

    @property
    def masks_labels(self) -> bool:
        """Whether a label may be NaN throughout a frame, for missing."""
        return False

    def split_indices(self) -> dict[str, list[int]] | None:
        """Which frames random splits gave to each split; None where no split was random."""
        return None

    def use_split_indices(self, indices: dict[str, list[int]]) -> None:
        """Use the random splits of an earlier run; where no split is random this does nothing."""

    def set_cutoff(self, cutoff: float) -> None:
        """Say up to which distance in A atoms are neighbors; the model decides, before `setup`.

        Raises:
            InputError: if the cutoff is not a length above 0.001 A.
        """
        if not (math.isfinite(cutoff) and cutoff > CLOSEST):
            raise InputError(f"the cutoff must be a length above {CLOSEST} A, not {cutoff}")
        self._cutoff = float(cutoff)

    def setup(self, stage: str | None = None) -> None:
        """Read and check the frames once, and build the neighbor lists of this cutoff once.

        Raises:
            InputError: for an empty training set, labels or positions that are not finite, and two
                atoms at one place; it names split, frame and atoms.
        """
        if self._cutoff is None:
            raise RuntimeError("call set_cutoff before setup: the model knows the cutoff")
        if self._frames is None:
            self._frames = checked(self.read(), self.masks_labels, len(self.scalar_names))
        if self._cutoff not in self._linked:
            linked = {
                split: linked_checked(graphs, self._cutoff, split, self.masks_labels)
                for split, graphs in self._frames.items()
            }
            there = [g for graphs in linked.values() if graphs.in_memory for g in graphs]
            alone = sum(g.n_atoms - int(g.centers.unique().numel()) for g in there)
            warn_of_loners(alone, sum(g.n_atoms for g in there), self._cutoff)
            self._linked[self._cutoff] = linked

    def splits(self) -> tuple[str, ...]:
        """Names of the splits that have frames."""
        return tuple(self._by_split())

    def graphs(self, split: str) -> GraphSequence:
        """The frames of a split with neighbor lists and labels, each one structure.

        Raises:
            InputError: if the data have no such frames; it says which splits there are.
        """
        by_split = self._by_split()
        if split not in by_split:
            there = ", ".join(f"{name} ({len(graphs)})" for name, graphs in by_split.items())
            raise InputError(f"the data have no '{split}' frames; splits with frames: {there}")
        return by_split[split]

    def facts(self, split: str) -> Facts:
        """What the frames of a split tell, gathered once; see `hermnet.data.cache.facts_of`.

        Of several processes the first one gathers, and all have to ask in the same order.

        Raises:
            InputError: if the data have no such frames, or one of them cannot be used.
        """
        graphs = self.graphs(split)
        key = (split, cast("float", self._cutoff))
        if key not in self._facts:
            what = f"{len(graphs)} {split} frames"
            found = from_first(lambda: facts_of(graphs, self.num_workers, what))
            if not graphs.in_memory:  # of which nothing was known before
                warn_of_loners(found.n_alone, int(found.n_atoms.sum()), key[1])
            self._facts[key] = found
        return self._facts[key]

    def label_names(self, split: str) -> set[str]:
        """Which of energy, forces and stress every frame of a split has, or masks."""
        facts = self.facts(split)
        return {name for name, n_frames in facts.labels.items() if n_frames == facts.n_frames}

    def transfer_batch_to_device(
        self, batch: AtomicGraph, device: torch.device, dataloader_idx: int
    ) -> AtomicGraph:
        """The batch on the device, without waiting; Lightning's own copy waits for each tensor."""
        return batch.to(device, non_blocking=True)

    def train_dataloader(self) -> DataLoader[AtomicGraph]:
        """This process's batches of the training frames, in another order every epoch."""
        batches = ContinuedBatches(self._train_batches(), *self._start)
        return self._loader(self.graphs("train"), batches)

    def start_at(self, epoch: int, n_had: int) -> None:
        """Let training go on in this epoch, after as many of its batches."""
        self._start = (epoch, n_had)

    def train_frames(self, epoch: int, batch: int) -> list[int]:
        """Which training frames are in a batch of this process, in an epoch; counted from 0."""
        batches = self._train_batches()
        batches.sampler.set_epoch(epoch)
        return list(batches)[batch]

    def _train_batches(self) -> EvenBatches | BoundedBatches:
        graphs, share = self.graphs("train"), this_process()
        sampler = EpochSampler(len(graphs), self.seed, graphs.weights)
        if self.max_edges is None:
            return EvenBatches(sampler, self.batch_size, share)
        sizes = self.facts("train").n_edges.tolist()
        return BoundedBatches(sampler, sizes, self.max_edges, "edges", share)

    def eval_dataloader(self, split: str, share: Share = (0, 1)) -> DataLoader[AtomicGraph]:
        """Batches of any split in the order of its frames.

        Args:
            split: its name.
            share: which of how many processes gets its part of them; by default one gets all.
        """
        graphs = self.graphs(split)
        sizes = self.facts(split).n_edges.tolist() if self.max_edges else [0] * len(graphs)
        batches = filled(sizes, self.max_edges or 0, self.eval_batch_size)
        return self._loader(graphs, shared(batches, share))

    def val_dataloader(self) -> DataLoader[AtomicGraph] | list[DataLoader[AtomicGraph]]:
        """Its part of the validation frames; without frames nothing, and Lightning validates not.

        Every frame is in the part of one process.
        """
        return self.eval_dataloader("val", this_process()) if "val" in self.splits() else []

    def test_dataloader(self) -> list[DataLoader[AtomicGraph]]:
        """Its part of the test frames, a loader for each test set."""
        return [self.eval_dataloader(split, this_process()) for split in self.test_splits()]

    def predict_dataloader(self) -> DataLoader[AtomicGraph]:
        """Its part of the split ``predict`` if there is one, else of the first test set."""
        return self.eval_dataloader(self.predict_split(), this_process())

    def test_splits(self) -> tuple[str, ...]:
        """The test sets: ``test``, or whatever is for no other purpose.

        Raises:
            InputError: if there are none; it says which splits there are.
        """
        found = tuple(name for name in self.splits() if name not in _NO_TEST)
        if not found:
            self.graphs("test")  # says which splits there are
        return found

    def predict_split(self) -> str:
        """The split whose frames are to be predicted."""
        return "predict" if "predict" in self.splits() else self.test_splits()[0]

    def _by_split(self) -> dict[str, GraphSequence]:
        self.setup()  # does nothing when it has been done for this cutoff
        return self._linked[cast("float", self._cutoff)]

    def _loader(self, graphs: GraphSequence, batches: Any) -> DataLoader[AtomicGraph]:
        return Loader.of(
            graphs,
            Collation(graphs),
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            worker_init_fn=leave_signals_to_the_run,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator().manual_seed(self.seed),
            batch_sampler=batches,
        )


DATAMODULES: Registry[type[GraphDataModule]] = Registry("hermnet.datamodules", "data module")
