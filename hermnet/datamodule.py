"""`GraphDataModule`: from a reader's frames to checked, linked and batched graphs."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np
import torch
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset, Sampler

from hermnet.elements import symbol
from hermnet.errors import InputError, InputErrors
from hermnet.graph import AtomicGraph, collate
from hermnet.neighbors import with_neighbors
from hermnet.registry import Registry

LABELS = ("energy", "forces", "stress")
CLOSEST = 1e-3  # A; two atoms nearer than this are one atom written twice
_SHOWN = 5  # problems of one kind that are worth reading


class EpochSampler(Sampler[int]):
    """All indices once per epoch, in an order that depends on seed and epoch only.

    The global random state is neither read nor advanced, so that the order is the same whatever
    else runs, after a resume, and on every rank. Lightning calls `set_epoch`.

    Args:
        n_frames: number of indices.
        seed: any number from 0.
    """

    def __init__(self, n_frames: int, seed: int) -> None:
        self.n_frames = n_frames
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next iteration gives."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        """The indices of this epoch."""
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.n_frames)
        return iter(order.tolist())

    def __len__(self) -> int:
        """Number of indices."""
        return self.n_frames


class GraphDataModule(LightningDataModule, ABC):
    """Structures with labels, by split; a subclass says where they come from.

    A subclass implements `read` and adds its options as keyword arguments: its signature is the
    recipe's ``data`` section, the Args of its docstring the prose.

    Attributes:
        scalar_names: names of the columns of the graphs' `scalars`; a value may be NaN where a
            frame lacks it.
        scalar_units: their units, one for each name, empty for a pure number.

    Args:
        batch_size: structures per training step.
        eval_batch_size: structures per step of validation, test and prediction.
        num_workers: processes that collate batches beside the training; 0 is fast for data that
            are in memory.
        seed: of the order of the training frames and of random splits.
    """

    scalar_names: tuple[str, ...] = ()
    scalar_units: tuple[str, ...] = ()

    def __init__(
        self,
        *,
        batch_size: int = 10,
        eval_batch_size: int = 100,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.batch_size = at_least("batch_size", batch_size, 1)
        self.eval_batch_size = at_least("eval_batch_size", eval_batch_size, 1)
        self.num_workers = at_least("num_workers", num_workers, 0)
        self.seed = at_least("seed", seed, 0)
        self._cutoff: float | None = None
        self._frames: dict[str, list[AtomicGraph]] | None = None  # as read, without edges
        self._linked: dict[float, dict[str, list[AtomicGraph]]] = {}  # by cutoff

    @abstractmethod
    def read(self) -> dict[str, list[AtomicGraph]]:
        """The frames of each split: graphs of one structure, without edges, with their labels.

        Returns:
            ``train``, ``val`` and ``test``, and any other split that there is; only ``train`` must
            be there. Units are eV, A, eV/A and eV/A^3.
        """

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
            frames = {split: list(graphs) for split, graphs in self.read().items() if graphs}
            if "train" not in frames:
                raise InputError("the training set is empty")
            _check_finite(frames)
            _check_properties(frames, len(self.scalar_names))
            self._frames = frames
        if self._cutoff not in self._linked:
            linked = _link(self._frames, self._cutoff)
            _check_distances(linked)
            _warn_of_loners(linked, self._cutoff)
            self._linked[self._cutoff] = linked

    def splits(self) -> tuple[str, ...]:
        """Names of the splits that have frames."""
        return tuple(self._by_split())

    def graphs(self, split: str) -> list[AtomicGraph]:
        """The frames of a split with neighbor lists and labels, each one structure.

        Raises:
            InputError: if the data have no such frames; it says which splits there are.
        """
        by_split = self._by_split()
        if split not in by_split:
            there = ", ".join(f"{name} ({len(graphs)})" for name, graphs in by_split.items())
            raise InputError(f"the data have no '{split}' frames; splits with frames: {there}")
        return list(by_split[split])

    def label_names(self, split: str) -> set[str]:
        """Which of energy, forces and stress every frame of a split has."""
        graphs = self.graphs(split)
        return {name for name in LABELS if all(getattr(g, name) is not None for g in graphs)}

    def train_dataloader(self) -> DataLoader[AtomicGraph]:
        """Batches of the training frames, in another order every epoch."""
        graphs = self.graphs("train")
        return self._loader(graphs, self.batch_size, EpochSampler(len(graphs), self.seed))

    def eval_dataloader(self, split: str) -> DataLoader[AtomicGraph]:
        """Batches of any split in the order of its frames."""
        return self._loader(self.graphs(split), self.eval_batch_size, None)

    def val_dataloader(self) -> DataLoader[AtomicGraph] | list[DataLoader[AtomicGraph]]:
        """Batches of the validation frames; without frames nothing, and Lightning validates not."""
        return self.eval_dataloader("val") if "val" in self.splits() else []

    def test_dataloader(self) -> DataLoader[AtomicGraph]:
        """Batches of the test frames."""
        return self.eval_dataloader("test")

    def predict_dataloader(self) -> DataLoader[AtomicGraph]:
        """Batches of the split ``predict`` if there is one, else of ``test``."""
        return self.eval_dataloader("predict" if "predict" in self.splits() else "test")

    def _by_split(self) -> dict[str, list[AtomicGraph]]:
        self.setup()  # does nothing when it has been done for this cutoff
        return self._linked[cast("float", self._cutoff)]

    def _loader(
        self, graphs: list[AtomicGraph], batch_size: int, sampler: EpochSampler | None
    ) -> DataLoader[AtomicGraph]:
        return DataLoader(
            cast("Dataset[AtomicGraph]", graphs),
            batch_size=batch_size,
            sampler=sampler,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            collate_fn=collate,
            pin_memory=torch.cuda.is_available(),
            # A generator of its own: otherwise every loop draws from the global one.
            generator=torch.Generator().manual_seed(self.seed),
        )


DATAMODULES: Registry[type[GraphDataModule]] = Registry("hermnet.datamodules", "data module")


def at_least(name: str, value: int, lowest: int) -> int:
    """The value of option `name`, or an `InputError` if it is below `lowest`."""
    if value < lowest:
        raise InputError(f"{name} must be at least {lowest}, not {value}")
    return value


def _check_finite(frames: dict[str, list[AtomicGraph]]) -> None:
    problems = []
    for split, graphs in frames.items():
        for index, graph in enumerate(graphs):
            if graph.n_atoms == 0:
                problems.append(f"{split} frame {index} has no atoms")
            for name in ("positions", "cell", *LABELS):
                values = getattr(graph, name)
                if values is not None and not bool(torch.isfinite(values).all()):
                    problems.append(f"{split} frame {index}: {name} with NaN or infinity")
            if graph.stress is not None and float(torch.linalg.det(graph.cell[0])) == 0:
                problems.append(f"{split} frame {index}: a stress, but no cell with a volume")
    _refuse(problems)


def _check_properties(frames: dict[str, list[AtomicGraph]], n_scalars: int) -> None:
    """NaN is a label that a frame lacks; infinity is a mistake."""
    problems = []
    for split, graphs in frames.items():
        for index, graph in enumerate(graphs):
            for name, n_columns in (("scalars", n_scalars), ("dipole", 3)):
                values = getattr(graph, name)
                if values is None:
                    continue
                if tuple(values.shape) != (1, n_columns):
                    shape = f"{tuple(values.shape)} instead of {(1, n_columns)}"
                    problems.append(f"{split} frame {index}: {name} have the shape {shape}")
                elif bool(torch.isinf(values).any()):
                    problems.append(f"{split} frame {index}: {name} with infinity")
    _refuse(problems)


def _link(frames: dict[str, list[AtomicGraph]], cutoff: float) -> dict[str, list[AtomicGraph]]:
    linked: dict[str, list[AtomicGraph]] = {split: [] for split in frames}
    for split, graphs in frames.items():
        for index, graph in enumerate(graphs):
            try:
                linked[split].append(with_neighbors(graph, cutoff))
            except InputError as error:
                raise InputError(f"{split} frame {index}: {error}") from error
    return linked


def _check_distances(linked: dict[str, list[AtomicGraph]]) -> None:
    problems = []
    for split, graphs in linked.items():
        for index, graph in enumerate(graphs):
            if graph.n_edges == 0:
                continue
            ends = graph.positions.index_select(0, graph.neighbors) + graph.shifts @ graph.cell[0]
            vectors = ends - graph.positions.index_select(0, graph.centers)  # (n_edges, 3)
            distance, edge = vectors.norm(dim=1).min(dim=0)
            if distance < CLOSEST:
                pair = [int(graph.centers[edge]), int(graph.neighbors[edge])]
                names = " and ".join(f"{i} ({symbol(int(graph.atomic_numbers[i]))})" for i in pair)
                problems.append(
                    f"{split} frame {index}: atoms {names} are {float(distance):.1g} A apart"
                )
    _refuse(problems)


def _warn_of_loners(linked: dict[str, list[AtomicGraph]], cutoff: float) -> None:
    total = sum(graph.n_atoms for graphs in linked.values() for graph in graphs)
    alone = total - sum(
        int(graph.centers.unique().numel()) for graphs in linked.values() for graph in graphs
    )
    if alone:
        warnings.warn(
            f"{alone} of {total} atoms have no neighbor within the cutoff of {cutoff:g} A",
            stacklevel=3,
        )


def _refuse(problems: Sequence[str]) -> None:
    if len(problems) > _SHOWN:
        problems = [*problems[:_SHOWN], f"... and {len(problems) - _SHOWN} more of this kind"]
    if problems:
        raise InputErrors(problems)
