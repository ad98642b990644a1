"""Indices in C++ are those of operators of torch."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch

import structures
from hermnet import two_way as module
from hermnet.classes import element_classes
from hermnet.copies import Kinds
from hermnet.expansion import Copies, Expansion
from hermnet.graph import AtomicGraph, collate
from hermnet.kernels import indexing
from hermnet.kernels.choice import plain_operators
from hermnet.kernels.library import library
from hermnet.neighbors import graph_from_atoms
from hermnet.network import kinds_of
from hermnet.relations import SCHEMES, make_scheme

pytestmark = pytest.mark.skipif(library("indexing") is None, reason="there is no C++ compiler")
ELEMENTS = (1, 6, 7, 8, 16, 22, 56)


def graph() -> AtomicGraph:
    """Molecules, a crystal and an atom alone, of seven elements."""
    frames = (
        structures.molecule(),
        structures.mixture(),
        structures.crystal(),
        structures.molecule(),
    )
    return collate([graph_from_atoms(atoms, 4.0) for atoms in frames])


def types_of(graph: AtomicGraph) -> torch.Tensor:
    return torch.searchsorted(torch.tensor(ELEMENTS), graph.atomic_numbers)


def assert_same_union(one: Expansion, other: Expansion) -> None:
    for field in fields(Expansion):
        found, expected = (getattr(union, field.name) for union in (one, other))
        if isinstance(found, Copies):
            assert torch.equal(found.atom, expected.atom), field.name
            assert torch.equal(found.offsets, expected.offsets), field.name
            assert found.offsets.dtype == expected.offsets.dtype
        elif found is None:
            assert expected is None
        else:
            assert torch.equal(found, expected), field.name
            assert found.dtype == expected.dtype


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize("shares_sources", [False, True])
@pytest.mark.parametrize("kinds", [False, True])
@pytest.mark.parametrize("kept", [None, 2])
@pytest.mark.parametrize("links", ["sorted", "shuffled", "few", "none"])
def test_unions(name: str, shares_sources: bool, kinds: bool, kept: int | None, links: str):
    whole, scheme = graph(), make_scheme(name, element_classes("element", ELEMENTS))
    order = {
        "sorted": torch.arange(whole.n_edges),
        "shuffled": torch.randperm(whole.n_edges),
        "few": torch.arange(0, whole.n_edges, 17),
        "none": torch.arange(0),
    }[links]
    types, part = types_of(whole), None
    if kept is not None:
        part = torch.full((scheme.n_relations,), -1)
        part[torch.randperm(scheme.n_relations)[:kept]] = torch.arange(min(kept, len(part)))
    alike: Kinds | None = kinds_of(types, len(ELEMENTS)) if kinds else None
    given = types, whole.centers[order], whole.neighbors[order], part, shares_sources, alike
    found = scheme.expand(*given)
    with plain_operators():
        expected = scheme.expand(*given)
    assert_same_union(found, expected)


@pytest.mark.parametrize("name", ["none", "vertex"])
@pytest.mark.parametrize("shifts", [True, False])
@pytest.mark.parametrize("step", [1, 5])
def test_edges_that_stand_for_their_reverses(name: str, shifts: bool, step: int):
    whole, scheme = graph(), make_scheme(name, element_classes("element", ELEMENTS))
    if not shifts:
        whole = replace(whole, shifts=torch.zeros_like(whole.shifts))
        pairs = torch.stack((whole.centers, whole.neighbors))
        first = torch.unique(pairs, dim=1)  # one edge of those to several images
        whole = replace(whole, centers=first[0], neighbors=first[1])
    kept = torch.arange(len(whole.centers)) % step != step - 1 if step > 1 else slice(None)
    centers, neighbors = whole.centers[kept], whole.neighbors[kept]
    images = whole.shifts[kept] if shifts else None
    union = scheme.expand(types_of(whole), centers, neighbors)
    (found,) = module.two_way([union], [True], centers, neighbors, images)
    with plain_operators():
        (expected,) = module.two_way([union], [True], centers, neighbors, images)
    assert found.both is not None
    assert expected.both is not None
    assert sorted(ways(found)) == sorted(ways(expected))
    assert torch.equal(found.offsets, torch.searchsorted(found_slots(found, union), steps(union)))
    for here, there in (("side_centers", "side_centers"), ("neighbors", "neighbors")):
        assert torch.equal(getattr(found, here), getattr(found.both, there)[:, 0])
    places = torch.searchsorted(union.edge[torch.argsort(union.edge)], found.edge)
    places = torch.argsort(union.edge)[places]
    for field in ("centers", "neighbor_kinds", "neighbor_atoms"):
        assert torch.equal(getattr(found, field), getattr(union, field)[places]), field


def ways(union: Expansion) -> list[list[list[int]]]:
    """For each edge the ends of both ways, whichever comes first."""
    both = union.both
    assert both is not None
    ends = torch.stack((both.side_centers, both.neighbors, both.neighbor_kinds), dim=2)
    return [sorted(edge) for edge in ends.tolist()]


def found_slots(found: Expansion, union: Expansion) -> torch.Tensor:
    """The slot of each edge that is left."""
    slot_of = torch.zeros(int(union.edge.max()) + 1, dtype=torch.int64)
    numbers = torch.arange(len(union.edge))
    slot_of[union.edge] = torch.searchsorted(union.offsets.long(), numbers, right=True)
    return slot_of[found.edge]


def steps(union: Expansion) -> torch.Tensor:
    return torch.arange(1, len(union.offsets) + 1)


def test_where_there_is_no_code(monkeypatch: pytest.MonkeyPatch):
    numbers = torch.arange(3)
    assert indexing.may_take(numbers)
    assert not indexing.may_take(numbers.to("meta"))
    with plain_operators():
        assert not indexing.may_take(numbers)
    monkeypatch.setattr(indexing, "library", lambda _: None)
    assert not indexing.may_take(numbers)
