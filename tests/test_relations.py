"""Relation schemes against sets built edge by edge in plain Python."""

from __future__ import annotations

import pytest
import torch

import structures
from hermnet.classes import element_classes
from hermnet.errors import InputError
from hermnet.graph import collate
from hermnet.neighbors import graph_from_atoms
from hermnet.network import kinds_of
from hermnet.relations import SCHEMES, Scheme, make_scheme

ELEMENTS = (8, 1, 6, 22, 56, 7)  # no atom is N
NAMES = ("O", "H", "C", "Ti", "Ba", "N")
each_scheme = pytest.mark.parametrize("name", sorted(SCHEMES))


def example():
    """Types, centers and neighbors of a batch: molecule, crystal, lone atom."""
    frames = [structures.molecule(), structures.crystal(), structures.molecule()[[2]]]
    graph = collate([graph_from_atoms(frame, 3.0) for frame in frames])
    types = torch.tensor([ELEMENTS.index(z) for z in graph.atomic_numbers.tolist()])
    return types, graph.centers, graph.neighbors


def scheme_of(name: str) -> Scheme:
    return make_scheme(name, element_classes("element", ELEMENTS))


def links(name: str, types, centers, neighbors) -> set[tuple[int, str, int]]:
    """(edge, label of its relation, side), said in symbols."""
    symbols = [NAMES[t] for t in types.tolist()]
    ends = list(zip(centers.tolist(), neighbors.tolist(), strict=True))
    around: dict[int, set[str]] = {}
    for i, j in ends:
        around.setdefault(i, set()).add(symbols[j])
    found = set()
    for edge, (i, j) in enumerate(ends):
        if name == "none":
            found.add((edge, "all", 0))
        elif name == "vertex":
            found.add((edge, symbols[i], 0))
        elif name == "pair":
            found.add((edge, f"{symbols[j]}-{symbols[i]}", 0))
        else:
            for other in around[i]:
                a, b = sorted((symbols[j], other), key=NAMES.index)
                found.add((edge, f"{a}-*-{b}", 0 if symbols[j] == a else 1))
    return found


def segment_of_rows(offsets: torch.Tensor) -> list[int]:
    """The segment of each row, from the ends of the segments."""
    rows, start = [], 0
    for segment, end in enumerate(offsets.tolist()):
        rows += [segment] * (end - start)
        start = end
    return rows


def decode(scheme: Scheme, expansion, labels, centers, neighbors):
    """Edges, receivers and sources as sets of names; checks that the indices agree."""
    sides = scheme.n_sides
    slots = segment_of_rows(expansion.offsets)
    receiver_relations = segment_of_rows(expansion.receivers.offsets)
    source_slots = segment_of_rows(expansion.sources.offsets)
    assert len(expansion.offsets) == len(expansion.sources.offsets) == len(labels) * sides
    assert len(expansion.receivers.offsets) == len(labels)
    edges = set()
    for row, (edge, slot) in enumerate(zip(expansion.edge.tolist(), slots, strict=True)):
        copy, source = int(expansion.centers[row]), int(expansion.neighbors[row])
        assert expansion.receivers.atom[copy] == centers[edge]
        assert receiver_relations[copy] == slot // sides
        assert expansion.sources.atom[source] == neighbors[edge] == expansion.neighbor_atoms[row]
        assert source_slots[source] == slot
        assert expansion.side_centers[row] == sides * copy + slot % sides
        edges.add((edge, labels[slot // sides], slot % sides))
    assert len(edges) == len(slots), "an edge is twice in one relation"
    receivers = [
        (atom, labels[relation])
        for atom, relation in zip(
            expansion.receivers.atom.tolist(), receiver_relations, strict=True
        )
    ]
    sources = [
        (atom, labels[slot // sides], slot % sides)
        for atom, slot in zip(expansion.sources.atom.tolist(), source_slots, strict=True)
    ]
    assert len(set(receivers)) == len(receivers)
    assert len(set(sources)) == len(sources)
    return edges, set(receivers), set(sources)


def expected_copies(name: str, edges, types, centers, neighbors):
    receivers = {(int(centers[edge]), label) for edge, label, _ in edges}
    sources = {(int(neighbors[edge]), label, side) for edge, label, side in edges}
    if name == "none":
        receivers |= {(atom, "all") for atom in range(len(types))}
    if name == "vertex":
        receivers |= {(atom, NAMES[t]) for atom, t in enumerate(types.tolist())}
    return receivers, sources


@each_scheme
def test_expansion_is_the_union_of_all_relations(name: str):
    types, centers, neighbors = example()
    scheme = scheme_of(name)
    expansion = scheme.expand(types, centers, neighbors)
    edges, receivers, sources = decode(scheme, expansion, scheme.labels, centers, neighbors)
    expected = links(name, types, centers, neighbors)
    assert edges == expected
    assert (receivers, sources) == expected_copies(name, expected, types, centers, neighbors)


@each_scheme
def test_the_order_of_edges_does_not_matter(name: str):
    types, centers, neighbors = example()
    order = torch.randperm(len(centers))
    scheme = scheme_of(name)
    expansion = scheme.expand(types, centers[order], neighbors[order])
    edges, _, _ = decode(scheme, expansion, scheme.labels, centers[order], neighbors[order])
    assert {(int(order[e]), *rest) for e, *rest in edges} == links(name, types, centers, neighbors)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("vertex", ("N", "O", "H")),
        ("pair", ("Ba-O", "O-O", "H-C")),
        ("triadic", ("H-*-H", "O-*-Ti", "O-*-O", "H-*-C", "N-*-N")),
    ],
)
def test_a_part_holds_its_relations_only(name: str, kept: tuple[str, ...]):
    types, centers, neighbors = example()
    scheme = scheme_of(name)
    part = torch.full((scheme.n_relations,), -1)
    for number, label in enumerate(kept):
        part[scheme.labels.index(label)] = number
    expansion = scheme.expand(types, centers, neighbors, part)
    edges, receivers, sources = decode(scheme, expansion, kept, centers, neighbors)
    every = links(name, types, centers, neighbors)
    expected = {link for link in every if link[1] in kept}
    assert expected
    assert expected != every
    assert edges == expected
    copies = expected_copies(name, expected, types, centers, neighbors)
    assert (receivers, sources) == ({c for c in copies[0] if c[1] in kept}, copies[1])
    check_side_rows(scheme, expansion, kept)


@each_scheme
@pytest.mark.parametrize("shares_sources", [False, True])
def test_one_atom_of_each_element_sends_for_all_in_the_first_layer(name: str, shares_sources: bool):
    types, centers, neighbors = example()
    given = kinds_of(types, len(ELEMENTS))
    alike = given.atom[given.of_atom]
    assert torch.equal(types[alike], types)
    assert len(set(alike[1:].tolist())) == len(set(types[1:].tolist()))
    assert alike[0] == 0
    found = scheme_of(name).expand(types, centers, neighbors, None, shares_sources, given)
    slots = segment_of_rows(found.offsets) if not shares_sources else [0] * len(found.edge)
    used = [
        (slot, int(alike[atom])) for slot, atom in zip(slots, found.neighbor_atoms, strict=True)
    ]
    kinds = list(zip(segment_of_rows(found.kinds.offsets), found.kinds.atom.tolist(), strict=True))
    assert sorted(kinds) == sorted(set(used))
    assert [kinds[row] for row in found.neighbor_kinds.tolist()] == used
    assert len(kinds) < len(found.sources.atom)


def check_side_rows(scheme: Scheme, expansion, labels) -> None:
    for row, relation in enumerate(segment_of_rows(expansion.receivers.offsets)):
        if scheme.n_sides == 1:
            assert expansion.side_rows[row].tolist() == [row]
            continue
        first, second = labels[relation].split("-*-")
        alike = first == second  # both sides of a pair of like classes are its first
        assert expansion.side_rows[row].tolist() == [2 * row, 2 * row + (0 if alike else 1)]


@each_scheme
def test_rows_of_the_sides(name: str):
    scheme = scheme_of(name)
    check_side_rows(scheme, scheme.expand(*example()), scheme.labels)


@each_scheme
def test_no_edges(name: str):
    types, empty = torch.tensor([0, 1, 1]), torch.empty(0, dtype=torch.int64)
    expansion = scheme_of(name).expand(types, empty, empty)
    assert len(expansion.edge) == len(expansion.sources.atom) == 0
    assert sorted(expansion.receivers.atom.tolist()) == (
        [0, 1, 2] if name in ("none", "vertex") else []
    )
    assert len(expansion.side_rows) == len(expansion.receivers.atom)


def test_labels():
    classes = element_classes("element", (8, 1))
    labels = {name: make_scheme(name, classes).labels for name in SCHEMES}
    assert labels == {
        "none": ("all",),
        "vertex": ("O", "H"),
        "pair": ("O-O", "O-H", "H-O", "H-H"),
        "triadic": ("O-*-O", "O-*-H", "H-*-H"),
    }
    assert {n: make_scheme(n, classes).n_relations for n in labels} == {
        n: len(v) for n, v in labels.items()
    }


def test_relations_are_made_of_classes():
    classes = element_classes({"metal": ["Ti", "Ba"], "rest": ["H", "C", "N", "O"]}, ELEMENTS)
    scheme = make_scheme("pair", classes)
    assert scheme.labels == ("rest-rest", "rest-metal", "metal-rest", "metal-metal")
    of_atom = torch.tensor([0, 1, 0])
    expansion = scheme.expand(of_atom, torch.tensor([0, 1, 1, 2]), torch.tensor([1, 0, 2, 1]))
    assert expansion.offsets.tolist() == [0, 2, 4, 4]
    assert expansion.receivers.atom.tolist() == [1, 0, 2]


def test_an_unknown_scheme_is_refused_with_the_nearest_name():
    with pytest.raises(
        InputError, match=r"model.relations: unknown 'vertx'; did you mean 'vertex'"
    ):
        make_scheme("vertx", element_classes("element", (1,)))
