"""One pass over a set of graphs, by several processes where it is read from disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, final

import torch
from torch.utils.data import DataLoader, Dataset

from hermnet.data.facts import Facts
from hermnet.data.progress import tracked
from hermnet.errors import InputError, InputErrors
from hermnet.graph import AtomicGraph

_CHUNK = 128  # frames that one process looks at in one go
_MANY_EDGES = 1_000_000  # that are held at once, but for a single larger structure
_WAITING = 32  # chunks that are put together at once


def gather(graphs: Sequence[AtomicGraph], num_workers: int = 0, what: str = "frames") -> Facts:
    """The facts of graphs, each of which is asked for once.

    Frames are summed up by chunks, and chunks in their order, so that the result is the same to
    the last bit whatever the number of processes.

    Args:
        graphs: frames with neighbor lists, each one structure; at least one.
        num_workers: processes that read beside this one; 0 reads in this one.
        what: they are, for the progress bar.

    Raises:
        InputError: for a frame that cannot be used.
    """
    chunks = _Chunks(graphs)
    waiting: list[Facts] = []
    for chunk in tracked(_results(chunks, num_workers), len(chunks), f"gathering facts of {what}"):
        if chunk.problems:
            raise InputErrors(chunk.problems)
        waiting += chunk.facts
        if len(waiting) >= _WAITING:
            waiting = [Facts.joined(waiting)]
    return Facts.joined(waiting)


class _Chunk(NamedTuple):
    """What a process found; problems are lines, since exceptions lose their form on the way."""

    facts: list[Facts]
    problems: list[str]


@final
class _Chunks(Dataset[_Chunk]):
    """The facts of chunk after chunk."""

    def __init__(self, graphs: Sequence[AtomicGraph]) -> None:
        self._graphs = graphs

    def __len__(self) -> int:
        return -(-len(self._graphs) // _CHUNK)

    def __getitem__(self, index: int) -> _Chunk:
        last = min((index + 1) * _CHUNK, len(self._graphs))
        frames = (self._graphs[k] for k in range(index * _CHUNK, last))
        try:
            return _Chunk([Facts.of(part) for part in _parts(frames)], [])
        except InputErrors as error:
            return _Chunk([], error.messages)
        except InputError as error:
            return _Chunk([], [str(error)])


def _parts(graphs: Iterable[AtomicGraph]) -> Iterator[list[AtomicGraph]]:
    """The graphs in lists of bounded size."""
    held: list[AtomicGraph] = []
    n_edges = 0
    for graph in graphs:
        if held and n_edges + graph.n_edges > _MANY_EDGES:
            yield held
            held, n_edges = [], 0
        held.append(graph)
        n_edges += graph.n_edges
    if held:
        yield held


def _results(chunks: _Chunks, num_workers: int) -> Iterable[_Chunk]:
    if num_workers == 0:
        return (chunks[index] for index in range(len(chunks)))
    return DataLoader(
        chunks,
        batch_size=None,
        num_workers=min(num_workers, len(chunks)),
        collate_fn=_as_it_is,
        # A generator of its own: otherwise the loop draws from the global one.
        generator=torch.Generator().manual_seed(0),
    )


def _as_it_is(chunk: Any) -> Any:
    return chunk
