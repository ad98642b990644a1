"""Lists of many moving structures: no edge is missing, and few searches are made."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import structures
from hermnet.batched_skin import BatchedSkinNeighbors
from hermnet.errors import InputError
from hermnet.graph import AtomicGraph, collate
from hermnet.neighbors import graph_from_atoms, with_neighbors

CUTOFF = 3.0


def together(*atoms: object) -> AtomicGraph:
    return collate([graph_from_atoms(one) for one in atoms])


def edges(graph: AtomicGraph) -> set[tuple[float, ...]]:
    """Edges within the cutoff."""
    system = graph.batch[graph.centers]
    images = torch.bmm(graph.shifts[:, None], graph.cell[system])[:, 0]
    vectors = graph.positions[graph.neighbors] - graph.positions[graph.centers] + images
    near = vectors.norm(dim=1) < CUTOFF
    columns = [graph.centers, graph.neighbors, *graph.shifts.T]
    return set(zip(*(column[near].tolist() for column in columns), strict=True))


def assert_complete(found: AtomicGraph) -> None:
    """Hold the lists against those of each structure alone."""
    alone = []
    for system in range(found.n_systems):
        mine = found.batch == system
        one = AtomicGraph(
            positions=found.positions[mine],
            atomic_numbers=found.atomic_numbers[mine],
            cell=found.cell[system : system + 1],
            pbc=found.pbc[system : system + 1],
            batch=torch.zeros(int(mine.sum()), dtype=torch.int64),
            centers=found.centers[:0],
            neighbors=found.centers[:0],
            shifts=found.shifts[:0],
        )
        alone.append(with_neighbors(one, CUTOFF))
    assert edges(found) == edges(collate(alone))
    assert (found.centers.diff() >= 0).all()


@pytest.fixture
def graph() -> AtomicGraph:
    return together(structures.crystal(), structures.molecule(), structures.mixture())


def moved(graph: AtomicGraph, system: int, by: float, seed: int = 0) -> AtomicGraph:
    noise = torch.from_numpy(np.random.default_rng(seed).normal(size=graph.positions.shape))
    mine = (graph.batch == system)[:, None]
    return replace(graph, positions=graph.positions + by * noise * mine)


def test_only_what_moved_far_is_searched(graph: AtomicGraph):
    search = BatchedSkinNeighbors(CUTOFF)
    assert_complete(search(graph))
    assert search.n_searches == 3
    near = moved(graph, 1, 0.05)
    assert_complete(search(near))
    assert search.n_searches == 3
    far = moved(near, 1, 1.0)
    assert_complete(search(far))
    assert search.n_searches == 4
    assert_complete(search(moved(far, 1, 0.05)))  # from where it was searched last
    assert search.n_searches == 4
    assert_complete(search(moved(far, 0, 1.0)))
    assert search.n_searches == 5


def test_cells_may_change(graph: AtomicGraph):
    search = BatchedSkinNeighbors(CUTOFF)
    search(graph)
    for strain, n_searches in ((0.01, 3), (0.4, 4), (0.41, 4)):
        change = torch.eye(3).double()
        change[0, 1] += strain
        cell = graph.cell.clone()
        cell[0] = cell[0] @ change
        mine = (graph.batch == 0)[:, None]
        positions = torch.where(mine, graph.positions @ change, graph.positions)
        assert_complete(search(replace(graph, cell=cell, positions=positions)))
        assert search.n_searches == n_searches
    cell[2, 0, 0] += 0.01  # a slab whose cell changes is searched anew
    assert_complete(search(replace(graph, cell=cell, positions=positions)))
    assert search.n_searches == n_searches + 1


@pytest.mark.parametrize("seed", range(6))
def test_anything_that_moves_in_small_steps(seed: int):
    search = BatchedSkinNeighbors(CUTOFF, skin=0.4)
    graph = together(*(structures.anything(8 * k + seed) for k in range(4)))
    for step in range(6):
        assert_complete(search(graph))
        graph = moved(graph, step % 4, 0.1, seed=step)
    assert 4 <= search.n_searches < 24


def test_other_structures_are_searched(graph: AtomicGraph):
    search = BatchedSkinNeighbors(CUTOFF)
    search(graph)
    fewer = together(structures.molecule(), structures.mixture())
    assert_complete(search(fewer))
    turned = replace(fewer, pbc=~fewer.pbc & (fewer.cell.norm(dim=2) > 0))
    assert_complete(search(turned))
    assert search.n_searches == 7


def test_bad_skin():
    with pytest.raises(InputError, match="the skin must be a length in A, not -1"):
        BatchedSkinNeighbors(CUTOFF, skin=-1)
