from __future__ import annotations

import logging
import shutil
import warnings
from dataclasses import replace
from typing import Any

import pytest
import torch
from ase.build import bulk
from torch import Tensor
from torch.utils import _pytree as pytree

import structures
from hermnet import compiled
from hermnet.checks import random_potential
from hermnet.compiled import CompiledEvaluator, _traceable, trace_energy_and_gradient
from hermnet.derivatives import edge_vectors
from hermnet.graph import AtomicGraph, collate
from hermnet.model_options import ModelOptions
from hermnet.neighbors import graph_from_atoms
from hermnet.network import Indices
from hermnet.potential import Potential, evaluate_eagerly
from hermnet.subnetwork import SUBNETS

OPTIONS = ModelOptions(n_channels=4, n_layers=1, n_radial=4, cutoff=3.0, dtype="float64")
ELEMENTS = (1, 6, 7, 8, 16)
FLOAT32 = 2e-5  # eager itself is up to 5e-6 off float64 here, 5e-5 in the bias of all energies
SCHEMES = ("none", "vertex", "pair", "triadic")


def graph_of(*seeds: int, n_atoms: int = 12) -> AtomicGraph:
    frames = [structures.mixture(seed, n_atoms + seed) for seed in seeds]
    return collate([graph_from_atoms(atoms, OPTIONS.cutoff) for atoms in frames])


def inputs_of(potential: Potential, graph: AtomicGraph) -> tuple[Tensor, Indices]:
    return edge_vectors(graph).to(potential.dtype), potential.indices(graph)


def assert_relative(found: Tensor, expected: Tensor, rtol: float) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=rtol * expected.abs().max().item())


@pytest.mark.parametrize("relations", SCHEMES)
@pytest.mark.parametrize(
    "subnet",
    [
        pytest.param(name, marks=[] if name == "painn" else pytest.mark.slow)
        for name in SUBNETS.names()
    ],
)
def test_traced_is_eager_for_every_size(subnet: str, relations: str):
    """Weights' gradients of a loss on forces included: the second derivative is the point.

    Atoms send for themselves from the second layer on.
    """
    options = replace(OPTIONS, subnet=subnet, relations=relations, n_layers=2)
    potential = random_potential(options, ELEMENTS)
    tensors = {**dict(potential.named_parameters()), **dict(potential.named_buffers())}
    parameters = list(potential.parameters())
    traced = trace_energy_and_gradient(potential, tensors, *inputs_of(potential, graph_of(0)))
    for graph in (graph_of(1), graph_of(2, 3)):
        vectors, indices = inputs_of(potential, graph)
        found = traced(*tensors.values(), vectors, *pytree.tree_leaves(indices))
        expected = evaluate_eagerly(potential, vectors, indices, create_graph=True)
        for one, other in zip(found, expected, strict=True):
            assert_relative(one, other, 1e-10)
        losses = (pair[0].square().sum() + pair[1].square().sum() for pair in (found, expected))
        gradients = [torch.autograd.grad(loss, parameters) for loss in losses]
        for one, other in zip(*gradients, strict=True):
            assert_relative(one, other, 1e-10)


def losses_of(potential: Potential, graphs: list[AtomicGraph]) -> list[dict[str, Tensor]]:
    """Energies, forces, and the gradients of a loss on them, of each graph."""
    results = []
    for graph in graphs:
        potential.zero_grad()
        found = potential(graph)
        loss = found.energy.square().mean() + found.forces.square().mean()
        loss.backward()
        gradients = {name: p.grad.clone() for name, p in potential.named_parameters()}
        # atomic energies, because a sum of them may cancel and lose digits either way
        values = {"energies": found.atomic_energies, "forces": found.forces}
        results.append({name: value.detach() for name, value in values.items()} | gradients)
    return results


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize(
    ("relations", "sharing"), [("none", "independent"), ("pair", "basis:3")], ids=["none", "pair"]
)
def test_compiled_is_eager(relations: str, sharing: str):
    """Mixed weights are those of relations in use, a number that changes from graph to graph."""
    # The compiler's own use of what it deprecates is not ours to mend.
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", category=FutureWarning)
    sizes: dict[str, Any] = {"n_channels": 16, "dtype": "float32"}
    options = replace(
        OPTIONS, relations=relations, sharing=sharing, zbl=relations == "pair", **sizes
    )
    potential = random_potential(options, ELEMENTS)
    # Inductor has another kernel for products of fewer than about 25 rows.
    graphs = [graph_of(0, 1, 2), graph_of(1, 2), graph_of(3, 4, 5), graph_of(6, n_atoms=30)]
    expected = losses_of(potential, graphs)
    evaluator = CompiledEvaluator()
    potential.evaluate = evaluator
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    found = losses_of(potential, graphs[:1])
    n_graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    found += losses_of(potential, graphs[1:])
    assert n_graphs >= 1, "it went through the compiler"
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == n_graphs, (
        "one graph, all sizes"
    )
    for one, other in zip(found, expected, strict=True):
        for name, value in other.items():
            assert_relative(one[name], value, FLOAT32)
    with torch.no_grad():
        prediction = potential(graphs[1])
    assert not prediction.forces.requires_grad
    assert_relative(prediction.forces, expected[1]["forces"], FLOAT32)


def test_what_cannot_be_compiled_runs_eagerly_with_one_warning(monkeypatch: pytest.MonkeyPatch):
    potential = random_potential(OPTIONS, ELEMENTS)
    expected = losses_of(potential, [graph_of(0), graph_of(1)])

    def refuse(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no such operator\nand a long story")

    monkeypatch.setattr("hermnet.compiled.trace_energy_and_gradient", refuse)
    potential.evaluate = CompiledEvaluator()
    with pytest.warns(
        UserWarning, match=r"compilation failed, going on eagerly: no such operator$"
    ):
        found = losses_of(potential, [graph_of(0)])
    found += losses_of(potential, [graph_of(1)])  # warnings are errors: there is no second one
    for one, other in zip(found, expected, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in other)


def test_compiled_code_that_is_wrong_is_not_used(monkeypatch: pytest.MonkeyPatch):
    def compiled_wrongly(graph: Any, **_: Any) -> Any:
        return lambda *inputs: (graph(*inputs)[0], 1.1 * graph(*inputs)[1])

    monkeypatch.setattr("hermnet.compiled.torch.compile", compiled_wrongly)
    potential = random_potential(OPTIONS, ELEMENTS)
    expected = losses_of(potential, [graph_of(0)])
    potential.evaluate = CompiledEvaluator()
    with pytest.warns(UserWarning, match=r"a gradient that is off by 1.0e-01"):
        found = losses_of(potential, [graph_of(0)])
    assert all(torch.equal(found[0][name], value) for name, value in expected[0].items())


def test_where_calls_have_to_go_through_python_they_do(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    tried = []

    def compile_it(graph: Any, dynamic: bool, options: dict[str, Any]) -> Any:
        tried.append("cpp_wrapper" in options)
        if tried[-1]:
            raise RuntimeError("Python.h is not there")
        return graph

    monkeypatch.setattr("hermnet.compiled.torch.compile", compile_it)
    potential = random_potential(OPTIONS, ELEMENTS)
    expected = losses_of(potential, [graph_of(0), graph_of(1)])
    potential.evaluate = CompiledEvaluator()
    with caplog.at_level("INFO", logger="hermnet.compiled"):
        found = losses_of(potential, [graph_of(0), graph_of(1)])
    assert tried == [True, False]
    assert "through Python: Python.h is not there" in caplog.text
    for one, other in zip(found, expected, strict=True):
        assert_relative(one["forces"], other["forces"], 1e-10)


def test_ways_of_calling_are_no_news():
    compiled._without_python()
    log = logging.getLogger("torch._inductor.ir")

    def tells(text: str) -> bool:
        record = logging.LogRecord(log.name, logging.WARNING, __file__, 1, text, ("f",), None)
        return bool(log.filter(record))

    assert not tells("%s is missing a c-shim implementation, using proxy executor as fallback")
    assert tells("%s went wrong")


def test_the_repulsion_of_nuclei_is_added_to_what_is_compiled(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("hermnet.compiled.torch.compile", lambda graph, **_: graph)
    potential = random_potential(replace(OPTIONS, zbl=True), ELEMENTS)
    bare = random_potential(OPTIONS, ELEMENTS)
    (expected,), (without,) = (losses_of(p, [graph_of(0)]) for p in (potential, bare))
    assert (expected["forces"] - without["forces"]).abs().max() > 1e-3
    potential.evaluate = CompiledEvaluator()
    (found,) = losses_of(potential, [graph_of(0)])
    for name, value in expected.items():
        assert_relative(found[name], value, 1e-10)


@pytest.mark.parametrize("n_atoms", [1, 2], ids=["an atom", "two atoms out of reach"])
def test_sizes_that_would_become_constants_are_not_traced(
    monkeypatch: pytest.MonkeyPatch, n_atoms: int
):
    traced = "hermnet.compiled.trace_energy_and_gradient"
    monkeypatch.setattr(traced, lambda *_: pytest.fail("it was traced"))
    potential = random_potential(replace(OPTIONS, relations="pair"), ELEMENTS)
    potential.evaluate = CompiledEvaluator()
    atoms = structures.mixture(0, 5)[:n_atoms]
    atoms.pbc = False
    atoms.positions = [[9.0 * k, 0, 0] for k in range(n_atoms)]
    found = potential(graph_from_atoms(atoms, OPTIONS.cutoff))
    assert found.energy.shape == (1,)
    assert (found.forces == 0).all()


@pytest.mark.parametrize("relations", SCHEMES)
def test_one_element_alone_can_be_traced(relations: str):
    """One atom of each element sends for all in the first layer; a single row would be refused."""
    potential = random_potential(replace(OPTIONS, relations=relations), ELEMENTS)
    graph = graph_from_atoms(bulk("C", cubic=True), OPTIONS.cutoff)
    vectors, indices = inputs_of(potential, graph)
    assert len(indices.expansions[0].kinds.atom) == 2
    assert _traceable(vectors, indices, pytree.tree_leaves(indices))
