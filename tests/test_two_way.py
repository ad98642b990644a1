"""Edges that stand for their reverses too change no number, whatever list they are from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from ase import Atoms
from operators import assert_closed
from torch import Tensor
from torch.utils import _pytree as pytree

import structures
from hermnet.checks import random_potential
from hermnet.compiled import trace_energy_and_gradient
from hermnet.derivatives import edge_vectors
from hermnet.expansion import Expansion
from hermnet.graph import AtomicGraph, collate
from hermnet.kernels.choice import plain_operators
from hermnet.messages import product_messages, vector_messages
from hermnet.model_options import ModelOptions
from hermnet.neighbors import graph_from_atoms
from hermnet.potential import Potential, evaluate_eagerly
from hermnet.subnets.painn import PaiNN
from hermnet.two_way import one_of_two, two_way

OPTIONS = ModelOptions(
    subnet="schnet",
    relations="none",
    n_channels=4,
    n_layers=3,
    n_radial=5,
    cutoff=5.0,
    dtype="float64",
)
ELEMENTS = (1, 6, 7, 8, 16, 22, 56)
Triple = tuple[int, ...]


def linked(*frames: Atoms) -> AtomicGraph:
    return collate([graph_from_atoms(atoms, OPTIONS.cutoff) for atoms in frames])


def with_edges(graph: AtomicGraph, edges: Tensor) -> AtomicGraph:
    names = ("centers", "neighbors", "shifts")
    return replace(graph, **{name: getattr(graph, name)[edges] for name in names})


def thinned(graph: AtomicGraph) -> AtomicGraph:
    """Every fifth edge is missing: most of these in one direction only."""
    return with_edges(graph, torch.arange(graph.n_edges) % 5 != 0)


def one_sided(graph: AtomicGraph) -> AtomicGraph:
    """No edge has a reverse, as in half a list."""
    return with_edges(graph, one_of_two(graph.centers, graph.neighbors, graph.shifts)[0])


def repeated(graph: AtomicGraph) -> AtomicGraph:
    """Some edges occur twice, their reverses once or twice; neighbors are in any order."""
    places = torch.randint(0, graph.n_edges, (2 * graph.n_edges,))
    return with_edges(graph, places[torch.sort(graph.centers[places]).indices])


def nothing(graph: AtomicGraph) -> AtomicGraph:
    return with_edges(graph, torch.arange(0))


GRAPHS: dict[str, Callable[[], AtomicGraph]] = {
    "cells smaller than the cutoff": lambda: linked(structures.crystal(), structures.crystal(1)),
    "molecules and a slab": lambda: linked(structures.molecule(), structures.mixture()),
    "reverses are missing": lambda: thinned(linked(structures.crystal())),
    "all reverses are missing": lambda: one_sided(linked(structures.crystal())),
    "edges are repeated": lambda: repeated(linked(structures.mixture())),
    "no edges": lambda: nothing(linked(structures.molecule())),
}


@pytest.fixture(params=GRAPHS)
def graph(request: pytest.FixtureRequest) -> AtomicGraph:
    torch.manual_seed(0)
    return GRAPHS[request.param]()


def triples(graph: AtomicGraph, edges: Tensor, reverse: bool = False) -> list[Triple]:
    """Center, neighbor and shift of edges, or of what their reverses have to be."""
    ends = torch.stack((graph.centers, graph.neighbors), dim=1)[edges]
    shifts = graph.shifts[edges].long()
    both = torch.cat((ends.flip(1), -shifts) if reverse else (ends, shifts), dim=1)
    return [tuple(row) for row in both.tolist()]


def test_edges_and_their_reverses_are_the_list(graph: AtomicGraph):
    rows, reverse = one_of_two(graph.centers, graph.neighbors, graph.shifts)
    has = reverse != rows
    assert triples(graph, reverse[has]) == triples(graph, rows[has], reverse=True)
    found = triples(graph, rows) + triples(graph, reverse[has])
    assert Counter(found) == Counter(triples(graph, torch.arange(graph.n_edges)))
    assert torch.equal(rows, torch.sort(rows).values)


@pytest.mark.parametrize("name", list(GRAPHS)[:2])
def test_a_complete_list_is_halved(name: str):
    graph = GRAPHS[name]()
    rows, reverse = one_of_two(graph.centers, graph.neighbors, graph.shifts)
    assert 2 * len(rows) == graph.n_edges
    assert (reverse != rows).all()


def test_images_too_far_to_be_numbered_go_one_way():
    shifts = torch.tensor([[1e6, 0, 0], [-1e6, 0, 0]], dtype=torch.float64)
    rows, reverse = one_of_two(torch.tensor([0, 1]), torch.tensor([1, 0]), shifts)
    assert rows.tolist() == reverse.tolist() == [0, 1]


def everything(potential: Potential, graph: AtomicGraph) -> list[Tensor]:
    """Energies, forces, stresses, and gradients of a loss on them by all weights."""
    found = potential(graph, stress=True, atomic_stresses=True)
    values = [found.atomic_energies, found.forces, found.stress, found.atomic_stresses]
    values = [torch.nan_to_num(value) for value in values]  # of molecules
    loss = sum((value.square().sum() for value in values), torch.zeros(()))
    weights = list(potential.parameters())
    return values + list(torch.autograd.grad(loss, weights, materialize_grads=True))


NEQUIP = {"name": "nequip", "radial_hidden": 6}
WIDE = {"name": "schnet", "n_filters": 6}
ROUND = {"name": "painn", "epsilon": 1.0}
MODELS: list[dict[str, Any]] = [
    {"relations": "none"},
    {"relations": "vertex", "heterogeneity": "update"},
    {"relations": "vertex", "sharing": "shared"},
    {"relations": "vertex", "subnet": {"default": "schnet", "O": WIDE}},
    {"relations": "vertex", "subnet": {"default": "schnet", "O": WIDE, "H": WIDE}},
    {"relations": "none", "subnet": NEQUIP, "lmax": 2},
    {"relations": "vertex", "subnet": NEQUIP, "lmax": 1, "heterogeneity": "update"},
    {"relations": "vertex", "subnet": {"default": NEQUIP, "O": "schnet"}, "lmax": 1},
    {"relations": "none", "subnet": "painn"},
    {"relations": "vertex", "subnet": "painn", "heterogeneity": "update"},
    {"relations": "vertex", "subnet": "painn", "sharing": "shared"},
    {"relations": "none", "subnet": "rmconv"},
    {"relations": "pair", "subnet": "painn", "heterogeneity": "update"},
    {"relations": "pair", "subnet": "rmconv", "sharing": "shared"},
    {"relations": "vertex", "subnet": {"default": "painn", "O": ROUND, "H": "schnet"}, "lmax": 1},
]


@pytest.mark.parametrize("options", MODELS, ids=str)
def test_numbers_are_those_of_all_edges(
    options: dict[str, Any], graph: AtomicGraph, monkeypatch: pytest.MonkeyPatch
):
    potential = random_potential(replace(OPTIONS, **options), ELEMENTS)
    found = everything(potential, graph)
    monkeypatch.setattr(potential, "lean_indices", potential.indices)
    for one, other in zip(found, everything(potential, graph), strict=True):
        scale = float(other.detach().abs().max().clamp(min=1.0))
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12 * scale)


@pytest.mark.parametrize(
    ("options", "is_halved"),
    [
        *((MODELS[k], True) for k in (0, 1, 2, 5, 6, 8, 9, 10, 11, 12, 13)),
        ({"relations": "vertex"}, False),
        ({"relations": "vertex", "subnet": "painn"}, False),
        ({"relations": "vertex", "subnet": "painn", "heterogeneity": "filters"}, False),
        ({"relations": "pair", "subnet": "painn"}, False),
        ({"relations": "triadic", "subnet": "painn", "sharing": "shared"}, False),
    ],
    ids=str,
)
def test_who_takes_half_the_edges(options: dict[str, Any], is_halved: bool):
    potential = random_potential(replace(OPTIONS, **options), ELEMENTS)
    graph = linked(structures.crystal())
    (union,) = potential.lean_indices(graph).expansions
    (whole,) = potential.indices(graph).expansions
    assert whole.both is None
    assert len(union.edge) * (2 if is_halved else 1) == len(whole.edge)
    assert int(union.offsets[-1]) == len(union.edge)
    assert (union.both is not None) == is_halved


def test_accelerators_are_not_waited_for():
    graph = linked(structures.molecule())
    potential = random_potential(OPTIONS, ELEMENTS)
    unions = potential.indices(graph).expansions
    elsewhere = (t.to("meta") for t in (graph.centers, graph.neighbors, graph.shifts))
    (union,) = two_way(unions, [True], *elsewhere)
    assert union is unions[0]


def some_without_reverse(subnet: str) -> tuple[Potential, AtomicGraph, Expansion]:
    """A potential with a molecule of four atoms in which some edges have no reverse."""
    potential = random_potential(replace(OPTIONS, subnet=subnet, n_channels=2), ELEMENTS)
    graph = thinned(linked(structures.molecule()[:4]))
    (union,) = potential.lean_indices(graph).expansions
    assert union.both is not None
    assert 0 < int((union.both.side_centers == union.n_rows).sum()) < len(union.edge)
    return potential, graph, union


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, requires_grad=True)


def test_products_both_ways_close_under_differentiation():
    potential, graph, union = some_without_reverse("schnet")
    seen = potential.router.geometry(union, edge_vectors(graph))
    inputs = normal(graph.n_atoms, 2), normal(len(union.edge), 2)
    assert_closed(lambda a, b: product_messages(seen, a, b), inputs)


@pytest.mark.parametrize("fused", [True, False], ids=["kernels", "operators of torch"])
def test_vectors_both_ways_close_under_differentiation(fused: bool):
    potential, graph, union = some_without_reverse("painn")
    (layer,) = potential.router.parts(0)[:1]
    assert isinstance(layer, PaiNN)

    def summed(vectors: Tensor, phi: Tensor, v: Tensor) -> Tensor:
        seen = potential.router.geometry(union, vectors)
        return vector_messages(seen, phi, v, layer.filter)

    vectors = edge_vectors(graph).requires_grad_()
    with plain_operators(not fused):
        assert_closed(summed, [vectors, normal(graph.n_atoms, 6), normal(graph.n_atoms, 3, 2)])


@pytest.mark.parametrize("fused", [True, False], ids=["kernels", "operators of torch"])
@pytest.mark.parametrize("options", [MODELS[0], MODELS[5], MODELS[8]], ids=str)
def test_what_is_traced_serves_every_list(options: dict[str, Any], fused: bool):
    """A compiled model meets complete lists and others, and must not be compiled anew for them."""
    potential = random_potential(replace(OPTIONS, n_layers=1, **options), ELEMENTS)
    tensors = {**dict(potential.named_parameters()), **dict(potential.named_buffers())}
    complete = GRAPHS["cells smaller than the cutoff"]()
    inputs = edge_vectors(complete), potential.lean_indices(complete)
    traced = trace_energy_and_gradient(potential, tensors, *inputs, fused=fused)
    for name in ("molecules and a slab", "reverses are missing", "all reverses are missing"):
        graph = GRAPHS[name]()
        vectors, indices = edge_vectors(graph), potential.lean_indices(graph)
        found = traced(*tensors.values(), vectors, *pytree.tree_leaves(indices))
        expected = evaluate_eagerly(potential, vectors, indices, create_graph=False)
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
