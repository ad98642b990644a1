"""Neighbor lists of many structures at once that last for many steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hermnet.errors import InputError
from hermnet.graph import AtomicGraph, collate
from hermnet.neighbors import with_neighbors


@dataclass(frozen=True)
class _Searched:
    """Where each structure was when it was searched last, and what was found there."""

    graph: AtomicGraph  # of all structures, without edges
    found: tuple[AtomicGraph, ...]  # each structure alone, with its edges
    joined: AtomicGraph  # all of them


class BatchedSkinNeighbors:
    """Links many moving structures, searching only those anew where an edge could be missing.

    The bound is that of `hermnet.SkinNeighbors`, for each structure by itself. Searches run on the
    CPU, where many small ones are fastest.

    Args:
        cutoff: in A.
        skin: in A; a larger one is searched for less often and has more edges.

    Raises:
        InputError: for a skin that is negative.
    """

    def __init__(self, cutoff: float, skin: float = 0.5) -> None:
        if not skin >= 0:
            raise InputError(f"the skin must be a length in A, not {skin}")
        self.cutoff = cutoff
        self.skin = skin
        self.n_searches = 0
        self._last: _Searched | None = None

    def __call__(self, graph: AtomicGraph) -> AtomicGraph:
        """The structures with their edges, those within the cutoff and some beyond.

        Args:
            graph: structures, the atoms of each in one piece; edges that they have are replaced.

        Raises:
            InputError: as `hermnet.with_neighbors`.
        """
        last = self._last
        if last is None or not _same_kind(last.graph, graph):
            found = self._search(graph, range(graph.n_systems))
            last = _Searched(graph, tuple(found), collate(found).to(graph.positions.device))
        else:
            old = (~self._lasts(last.graph, graph)).nonzero()[:, 0].tolist()
            if old:
                last = self._renewed(last, graph, old)
        self._last = last
        edges = last.joined
        return replace(graph, centers=edges.centers, neighbors=edges.neighbors, shifts=edges.shifts)

    def _search(self, graph: AtomicGraph, systems: Sequence[int]) -> list[AtomicGraph]:
        self.n_searches += len(systems)
        alone = _split(graph.to("cpu"), systems)
        return [with_neighbors(one, self.cutoff + self.skin) for one in alone]

    def _renewed(self, last: _Searched, graph: AtomicGraph, old: list[int]) -> _Searched:
        """The lists with those of the structures `old` made anew."""
        found = list(last.found)
        for system, one in zip(old, self._search(graph, old), strict=True):
            found[system] = one
        systems = torch.zeros(graph.n_systems, dtype=torch.bool, device=graph.batch.device)
        systems[old] = True
        atoms = systems.index_select(0, graph.batch)[:, None]
        reference = replace(
            graph,
            positions=torch.where(atoms, graph.positions, last.graph.positions),
            cell=torch.where(systems[:, None, None], graph.cell, last.graph.cell),
        )
        return _Searched(reference, tuple(found), collate(found).to(graph.positions.device))

    def _lasts(self, last: AtomicGraph, graph: AtomicGraph) -> Tensor:
        """Of each structure, whether no edge can be missing in its list, (n_systems,)."""
        usable, change = _deformations(last.cell, graph.cell, graph.pbc)
        followed = torch.bmm(
            last.positions[:, None], change.index_select(0, graph.batch)
        )  # (n_atoms, 1, 3)
        moved = (graph.positions - followed[:, 0]).norm(dim=1)
        largest = torch.zeros_like(graph.cell[:, 0, 0])
        largest = largest.scatter_reduce(0, graph.batch, moved, "amax")
        # not below the largest singular value, which takes much longer to compute
        strain = (change - torch.eye(3).to(change)).flatten(1).norm(dim=1)
        reach = (self.cutoff + 2 * largest) / (1 - strain)
        lasts: Tensor = usable & (strain < 1) & (reach < self.cutoff + self.skin)
        return lasts


def _same_kind(one: AtomicGraph, other: AtomicGraph) -> bool:
    """Whether two graphs have the same atoms in the same structures, perhaps elsewhere."""
    pairs = ("atomic_numbers", "batch", "pbc")
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in pairs)


def _split(graph: AtomicGraph, systems: Sequence[int]) -> list[AtomicGraph]:
    """Some of the structures, each as a graph of its own without edges."""
    ends = graph.atoms_per_system().cumsum(0).tolist()
    no_edges = {"centers": graph.centers[:0], "neighbors": graph.centers[:0]}
    return [
        AtomicGraph(
            positions=graph.positions[start:end],
            atomic_numbers=graph.atomic_numbers[start:end],
            cell=graph.cell[system : system + 1],
            pbc=graph.pbc[system : system + 1],
            batch=torch.zeros(end - start, dtype=torch.int64),
            shifts=graph.shifts[:0],
            **no_edges,
        )
        for system in systems
        for start, end in [(ends[system - 1] if system else 0, ends[system])]
    ]


def _deformations(before: Tensor, after: Tensor, pbc: Tensor) -> tuple[Tensor, Tensor]:
    """Whether a cell is what it was or followed, (n_systems,), and by which matrix (.., 3, 3).

    A cell that changes is followed where it repeats in all directions.
    """
    same = (before == after).flatten(1).all(dim=1)
    one = torch.eye(3).to(before).expand_as(before)
    solid = pbc.all(dim=1)
    if bool(same.all()):
        return same, one
    lasting = torch.where((solid & ~same)[:, None, None], before, one)
    return same | solid, torch.where(
        (solid & ~same)[:, None, None], torch.linalg.solve(lasting, after), one
    )
