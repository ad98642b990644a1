"""One pass over a set of graphs, by several processes where it is read from disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, final

from hermnet.data.facts import Facts
from hermnet.data.loading import Loader
from hermnet.data.progress import tracked
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
    for found in tracked(_results(chunks, num_workers), len(chunks), f"gathering facts of {what}"):
        waiting += found
        if len(waiting) >= _WAITING:
            waiting = [Facts.joined(waiting)]
    return Facts.joined(waiting)


@final
class _Chunks:
    """The facts of chunk after chunk."""

    def __init__(self, graphs: Sequence[AtomicGraph]) -> None:
        self._graphs = graphs

    def __len__(self) -> int:
        return -(-len(self._graphs) // _CHUNK)

    def __getitem__(self, index: int) -> list[Facts]:
        last = min((index + 1) * _CHUNK, len(self._graphs))
        frames = (self._graphs[k] for k in range(index * _CHUNK, last))
        return [Facts.of(part) for part in _parts(frames)]


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


def _results(chunks: _Chunks, num_workers: int) -> Iterable[list[Facts]]:
    if num_workers == 0:
        return (chunks[index] for index in range(len(chunks)))
    return Loader.of(chunks, _as_it_is, batch_size=None, num_workers=min(num_workers, len(chunks)))


def _as_it_is(found: Any) -> Any:
    return found
