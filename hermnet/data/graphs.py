"""Sequences of graphs: in memory, or made of frames one by one as they are asked for."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import final, overload

import numpy as np

from hermnet.data.fingerprint import digest
from hermnet.data.frames import Frames
from hermnet.data.labels import Labelling
from hermnet.data.validity import check_linked, check_values, refuse
from hermnet.errors import InputError
from hermnet.graph import AtomicGraph
from hermnet.neighbors import with_neighbors


class GraphSequence(Sequence[AtomicGraph]):
    """Graphs of one structure each, by index.

    Args:
        weights: how often each is drawn in an epoch of training; None for once.
    """

    def __init__(self, weights: Sequence[float] | None = None) -> None:
        self.weights = weights

    @property
    @abstractmethod
    def in_memory(self) -> bool:
        """Whether they are all there already."""

    @abstractmethod
    def at(self, index: int) -> AtomicGraph:
        """The graph with this index, from 0 up."""

    def fingerprint(self) -> str | None:
        """A word that is another one whenever a graph is; None where nobody can say."""
        return None

    @overload
    def __getitem__(self, index: int) -> AtomicGraph: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[AtomicGraph]: ...
    @final
    def __getitem__(self, index: int | slice) -> AtomicGraph | Sequence[AtomicGraph]:
        if isinstance(index, slice):
            return [self.at(k) for k in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"graph {index} of {len(self)}")
        return self.at(index % len(self))


@final
class GraphList(GraphSequence):
    """Graphs that are in memory.

    Args:
        graphs: the graphs.
        weights: see `GraphSequence`.
        fingerprint: see `GraphSequence.fingerprint`.
    """

    def __init__(
        self,
        graphs: Iterable[AtomicGraph],
        weights: Sequence[float] | None = None,
        fingerprint: str | None = None,
    ) -> None:
        super().__init__(weights)
        self._graphs = list(graphs)
        self._fingerprint = fingerprint

    def __len__(self) -> int:
        return len(self._graphs)

    @property
    def in_memory(self) -> bool:
        """See `GraphSequence.in_memory`."""
        return True

    def at(self, index: int) -> AtomicGraph:
        """See `GraphSequence.at`."""
        return self._graphs[index]

    def fingerprint(self) -> str | None:
        """See `GraphSequence.fingerprint`."""
        return self._fingerprint


@final
class FrameGraphs(GraphSequence):
    """Graphs of some frames, made anew each time they are asked for.

    Args:
        frames: where they come from.
        labelling: how a frame becomes a graph; none of the frames may be one that it skips.
        indices: which frames, in this order.
        weights: see `GraphSequence`.
    """

    def __init__(
        self,
        frames: Frames,
        labelling: Labelling,
        indices: Sequence[int],
        weights: Sequence[float] | None,
    ) -> None:
        super().__init__(weights)
        self._frames = frames
        self._labelling = labelling
        self._indices = indices

    def __len__(self) -> int:
        return len(self._indices)

    @property
    def in_memory(self) -> bool:
        """See `GraphSequence.in_memory`."""
        return False

    def at(self, index: int) -> AtomicGraph:
        """See `GraphSequence.at`."""
        graph = self._labelling.graph(self._frames[self._indices[index]])
        assert graph is not None, "frames to skip have been left out"
        return graph

    def fingerprint(self) -> str | None:
        """See `GraphSequence.fingerprint`."""
        return _labelled_fingerprint(self._frames, self._labelling, self._indices)


@final
class LinkedGraphs(GraphSequence):
    """Graphs with neighbor lists, built and checked each time they are asked for.

    Args:
        graphs: graphs without edges.
        cutoff: in A.
        split: for messages.
        masked: whether a label may be NaN throughout, for missing.
    """

    def __init__(self, graphs: GraphSequence, cutoff: float, split: str, masked: bool) -> None:
        super().__init__(graphs.weights)
        self._graphs = graphs
        self._cutoff = cutoff
        self._split = split
        self._masked = masked

    def __len__(self) -> int:
        return len(self._graphs)

    @property
    def in_memory(self) -> bool:
        """See `GraphSequence.in_memory`."""
        return False

    def at(self, index: int) -> AtomicGraph:
        """See `GraphSequence.at`."""
        graph, name = self._graphs[index], f"{self._split} frame {index}"
        refuse(check_values(graph, name, self._masked))
        graph = link(graph, self._cutoff, name)
        refuse(check_linked(graph, name))
        return graph

    def fingerprint(self) -> str | None:
        """See `GraphSequence.fingerprint`."""
        return linked_fingerprint(self._graphs, self._cutoff)


def link(graph: AtomicGraph, cutoff: float, name: str) -> AtomicGraph:
    """The graph with its neighbor list; what is wrong with it is said with its name."""
    try:
        return with_neighbors(graph, cutoff)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def linked_fingerprint(graphs: GraphSequence, cutoff: float) -> str | None:
    """The fingerprint of graphs with neighbor lists up to a cutoff in A."""
    found = graphs.fingerprint()
    return None if found is None else digest(found, "cutoff", repr(cutoff))


def _labelled_fingerprint(
    frames: Frames, labelling: Labelling, indices: Sequence[int]
) -> str | None:
    found = frames.fingerprint()
    if found is None:
        return None
    return digest(found, repr(labelling), np.asarray(indices, dtype=np.int64).tobytes())


def graphs_of(
    frames: Frames,
    labelling: Labelling,
    indices: Sequence[int] | None = None,
    weights: Sequence[float] | None = None,
) -> GraphSequence:
    """Some frames as graphs, in memory where the frames are.

    Args:
        frames: the frames.
        labelling: how a frame becomes a graph, and whether one that lacks a label is skipped.
        indices: which frames; None for all.
        weights: of every frame in `frames`; None for 1.
    """
    chosen: Sequence[int] = range(len(frames)) if indices is None else indices
    if frames.in_memory or labelling.missing == "skip":
        made = ((index, labelling.graph(frames[index])) for index in chosen)
        kept = [(index, graph) for index, graph in made if graph is not None]
        chosen = [index for index, _ in kept]
        if frames.in_memory:
            name = _labelled_fingerprint(frames, labelling, chosen)
            return GraphList((graph for _, graph in kept), _of(weights, chosen), name)
    return FrameGraphs(frames, labelling, chosen, _of(weights, chosen))


def _of(weights: Sequence[float] | None, chosen: Sequence[int]) -> Sequence[float] | None:
    return None if weights is None else [weights[index] for index in chosen]
