"""What holds for every readout of properties: symmetry, additivity, gradients, formulas."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from torch import Tensor
from torch.testing import assert_close

import properties
from hermnet.checks import permute_atoms, random_rotation
from hermnet.derivatives import edge_vectors
from hermnet.errors import InputError
from hermnet.graph import AtomicGraph, collate
from hermnet.model_options import ModelOptions
from hermnet.neighbors import graph_from_atoms
from hermnet.property_model import PropertyModel
from hermnet.readouts.atom_heads import GatedHead, NoVectorHead, make_vector_head
from hermnet.readouts.center_of_mass import CenterOfMass
from hermnet.readouts.dipole import total_dipole
from hermnet.readouts.extent import spatial_extent
from hermnet.readouts.names import make_property_readout, targets_of
from hermnet.readouts.polarizability import PolarizabilityReadout, polarizability
from hermnet.readouts.readout import ReadoutShape

SUBNETS = ("painn", "schnet", "nequip", "rmconv")
SCHEMES = ("none", "vertex", "pair")
every_readout = pytest.mark.parametrize("readout", properties.READOUTS)
SHAPE = ReadoutShape(n_channels=4, lmax=1, elements=(1, 6, 8))


def graph_of(*structures: Atoms) -> AtomicGraph:
    return collate([graph_from_atoms(atoms, properties.CUTOFF) for atoms in structures])


def values(model: PropertyModel, graph: AtomicGraph) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(graph).values
    assert found.shape == (graph.n_systems, sum(t.n_columns for t in model.targets))
    assert found.dtype == torch.float64
    return found


def assert_near(actual: Tensor, expected: Tensor) -> None:
    """To 1e-9 of the largest value."""
    assert_close(actual, expected, rtol=0.0, atol=1e-9 * max(1.0, float(expected.abs().max())))


@every_readout
@pytest.mark.parametrize("relations", SCHEMES)
@pytest.mark.parametrize("subnet", SUBNETS)
def test_symmetry(subnet: str, relations: str, readout: str):
    """Under rotation, reflection, translation and permutation; a vector turns with the molecule."""
    model = properties.random_model(readout, subnet=subnet, relations=relations)
    graph = graph_of(properties.ethanol(), properties.ethanol(1))
    before = values(model, graph)
    assert before.abs().min() > 1e-6
    moved = torch.tensor([0.3, -17.0, 2.9], dtype=torch.float64)
    for turn in (random_rotation(), -random_rotation()):
        turned = replace(graph, positions=graph.positions @ turn.T + moved)
        expected = before @ turn.T if readout == "vector" else before
        assert_near(values(model, turned), expected)
    order = torch.randperm(graph.n_atoms, generator=torch.Generator().manual_seed(0))
    assert_near(values(model, permute_atoms(graph, order)), before)


@every_readout
def test_a_batch_is_its_structures(readout: str):
    model = properties.random_model(readout)
    frames = [properties.ethanol(seed) for seed in range(3)]
    alone = torch.cat([values(model, graph_of(atoms)) for atoms in frames])
    assert_near(values(model, graph_of(*frames)), alone)


@every_readout
@pytest.mark.parametrize("subnet", SUBNETS)
def test_every_parameter_gets_a_finite_gradient(subnet: str, readout: str):
    model = properties.random_model(readout, subnet=subnet, relations="vertex")
    lone = Atoms("O", positions=[(1.0, 2.0, 3.0)])  # its dipole is zero, its length has no slope
    model(graph_of(properties.ethanol(), lone)).values.sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name
    heads = [p.grad for p in model.readout.parameters()]
    assert any(bool(gradient.abs().max() > 0) for gradient in heads)


@every_readout
def test_no_gradient_is_lost_on_the_way_to_positions(readout: str):
    """Central differences along one direction, centers of mass and charges included."""
    model = properties.random_model(readout)
    graph = graph_of(properties.ethanol())
    positions = graph.positions.clone().requires_grad_()
    model(replace(graph, positions=positions)).values.sum().backward()
    move = torch.randn(graph.positions.shape, dtype=torch.float64)
    up, down = (
        values(model, replace(graph, positions=graph.positions + s * 1e-5 * move)).sum()
        for s in (1, -1)
    )
    slope = (positions.grad * move).sum()
    assert slope.item() == pytest.approx(((up - down) / 2e-5).item(), rel=1e-5)


def fragments(distance: float) -> tuple[Atoms, Atoms, Atoms]:
    """Two molecules, and both in one frame out of each other's reach."""
    one, other = properties.ethanol(0), properties.ethanol(1)
    other.positions += (distance, 0.0, 0.0)
    return one, other, one + other


def test_sums_are_extensive_and_means_intensive():
    one, other, both = fragments(40.0)
    sums = properties.random_model("sum")
    assert_near(values(sums, graph_of(both))[0], values(sums, graph_of(one, other)).sum(dim=0))
    model = properties.random_model("mean")
    gap, u0 = values(model, graph_of(both))[0]
    parts = values(model, graph_of(one, other))
    assert gap.item() == pytest.approx(parts[:, 0].mean().item(), rel=1e-10)
    assert u0.item() == pytest.approx(parts[:, 1].sum().item(), rel=1e-10)


def test_like_molecules_far_apart_have_twice_the_dipole_of_one():
    """Charges are neutral by molecule then, so that nothing grows with the distance."""
    model = properties.random_model("vector")
    one = properties.ethanol()
    for distance in (40.0, 400.0):
        other = one.copy()
        other.positions += (0.0, distance, 0.0)
        assert_near(values(model, graph_of(one + other)), 2 * values(model, graph_of(one)))


def test_unlike_molecules_far_apart_add_up_where_the_charges_are_given():
    one, other, both = fragments(40.0)
    rng = np.random.default_rng(0)
    parts = [(q - q.mean(), m) for q, m in ((rng.normal(size=9), rng.normal(size=(9, 3))),) * 2]
    charges = np.concatenate([q for q, _ in parts])
    dipoles = np.concatenate([m for _, m in parts])
    found = total_dipole(
        torch.tensor(charges), torch.tensor(dipoles), torch.tensor(both.positions), graph_of(both)
    )
    expected = sum(
        q @ (atoms.positions - atoms.get_center_of_mass()) + m.sum(axis=0)
        for (q, m), atoms in zip(parts, (one, other), strict=True)
    )
    np.testing.assert_allclose(found[0], expected, rtol=1e-10)


def test_formulas_are_those_of_numpy():
    frames = [properties.ethanol(), properties.ethanol(1)[:5]]
    graph = graph_of(*frames)
    rng = np.random.default_rng(1)
    charges, vectors = rng.normal(size=14), rng.normal(size=(14, 3))
    positions = CenterOfMass()(graph)
    squares = positions.square().sum(dim=1)
    q, v = torch.tensor(charges), torch.tensor(vectors)
    dipole = total_dipole(q, v, positions, graph)
    extent = spatial_extent(q, squares, graph)
    alpha = polarizability(q, v, positions, graph)
    start = 0
    for system, atoms in enumerate(frames):
        rows = slice(start, start + len(atoms))
        start += len(atoms)
        r = atoms.positions - atoms.get_center_of_mass()
        np.testing.assert_allclose(positions[rows], r, atol=1e-12)
        expected = charges[rows] @ r + vectors[rows].sum(axis=0)
        np.testing.assert_allclose(dipole[system], expected, rtol=1e-12)
        expected = sum(a * np.dot(b, b) for a, b in zip(charges[rows], r, strict=True))
        assert extent[system].item() == pytest.approx(expected, rel=1e-12)
        tensor = charges[rows].sum() * np.eye(3)
        for a, b in zip(vectors[rows], r, strict=True):
            tensor += np.outer(a, b) + np.outer(b, a)
        np.testing.assert_allclose(alpha[system], tensor, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("norm", [False, True])
def test_charges_set_by_hand(norm: bool):
    """Weights such that each atom's charge is its element's embedding; they are made neutral."""
    name = "norm" if norm else "vector"
    model = properties.random_model(name, subnet="schnet", n_layers=0, n_channels=2)
    head = model.readout.atoms.scalar
    given = {1: 0.2, 6: -0.3, 8: -0.9}  # e
    with torch.no_grad():
        model.embedding.weight.zero_()
        model.embedding.weight[:, 0] = torch.tensor(list(given.values()), dtype=torch.float64)
        # silu(x) - silu(-x) = x
        head.hidden.weight.copy_(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
        head.out.weight.copy_(torch.tensor([[1.0, -1.0]]))
        head.hidden.bias.zero_()
        head.out.bias.zero_()
        model.readout.scale.fill_(1.0)
    atoms = properties.ethanol()
    charges = np.array([given[z] for z in atoms.numbers])
    expected = (charges - charges.mean()) @ (atoms.positions - atoms.get_center_of_mass())
    if norm:
        expected = np.linalg.norm(expected, keepdims=True) * 4.80320  # e A to D
    np.testing.assert_allclose(values(model, graph_of(atoms))[0], expected, rtol=1e-5)


def test_water_of_known_charges_has_its_textbook_dipole():
    """TIP3P: 0.9572 A, 104.52 degrees, q(H) = 0.417 e; 2.35 D (Jorgensen et al. 1983)."""
    half = np.radians(104.52 / 2)
    places = 0.9572 * np.array([[0, 0, 0], [np.sin(half), np.cos(half), 0]])
    water = Atoms("OHH", [places[0], places[1], places[1] * (-1, 1, 1)])
    charges = torch.tensor([-0.834, 0.417, 0.417], dtype=torch.float64)
    graph = graph_of(water)
    dipole = total_dipole(charges, torch.zeros(3, 3), CenterOfMass()(graph), graph)
    assert dipole.norm().item() * 4.80320 == pytest.approx(2.35, abs=0.005)


def test_the_polarizability_tensor_turns_with_the_molecule():
    model = properties.random_model("polarizability")
    graph = graph_of(properties.ethanol())

    def tensor(of: AtomicGraph) -> Tensor:
        indices = model.indices(of)
        assert isinstance(model.readout, PolarizabilityReadout)
        features = model.features(edge_vectors(of), indices)
        return model.readout.tensor(features, indices.types, of).detach()

    before = tensor(graph)
    assert_close(before, before.transpose(1, 2))
    turn = random_rotation()
    turned = tensor(replace(graph, positions=graph.positions @ turn.T))
    assert_near(turned, turn @ before @ turn.T)
    trace = torch.trace(before[0]).item() / 3 / 0.148185  # A^3 to a0^3
    assert values(model, graph)[0, 0].item() == pytest.approx(trace, rel=1e-5)


def test_degree_one_counts_where_there_is_one():
    assert isinstance(make_vector_head(SHAPE), GatedHead)
    head = make_vector_head(replace(SHAPE, lmax=0))
    assert isinstance(head, NoVectorHead)
    scalar, vector = head(torch.randn(5, 1, 4))
    assert scalar.shape == (5, 1)
    assert torch.equal(vector, torch.zeros(5, 3))


@pytest.mark.parametrize(
    ("readout", "message"),
    [
        ("dipol", "model.readout: unknown 'dipol'; did you mean 'dipole'"),
        ({"name": "scalar", "targets": []}, "model.readout.targets: name at least one scalar"),
        ({"name": "scalar", "targets": ["u0"]}, r"model.readout.mode: say sum \(extensive\) or"),
        ({"name": "scalar", "targets": {"u0": "sun"}}, "targets.u0: unknown mode 'sun'; did you m"),
        ({"name": "scalar", "targets": {"u0": "sum"}, "mode": "sum"}, "have their own modes"),
        ({"name": "scalar", "targets": ["u0", "u0"], "mode": "sum"}, "a target is named twice"),
        ({"name": "scalar", "targets": ["u 0"], "mode": "sum"}, "the target 'u 0' is no name"),
        (
            {"name": "scalar", "targets": ["gap"], "mode": "mean", "references": {"gap": {}}},
            "no extensive target 'gap'",
        ),
        ({"name": "scalar"}, "model.readout: scalar: .*targets"),
        ({"name": "dipole", "nrom": True}, "model.readout: dipole: .*nrom"),
    ],
    ids=str,
)
def test_readouts_that_cannot_be_made(readout: Any, message: str):
    with pytest.raises(InputError, match=message):
        targets_of(ModelOptions(readout=readout))


def test_energies_are_no_property():
    assert targets_of(ModelOptions()) == ()
    with pytest.raises(InputError, match="unknown 'energy'"):
        make_property_readout("energy", {}, SHAPE)


@pytest.mark.parametrize("option", [{"zbl": True}, {"reference": {"H": 1.0}}], ids=str)
def test_options_of_energies_do_not_fit_properties(option: dict[str, Any]):
    with pytest.raises(InputError, match="holds for energies, not for dipole"):
        ModelOptions(readout={"name": "dipole"}, **option)
