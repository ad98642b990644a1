"""The potential as a whole: options, dtypes, elements, hybrids, and messages."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from ase import Atoms

import structures
from hermnet.checks import (
    assert_near,
    evaluate,
    finite_difference_forces,
    predict,
    random_potential,
)
from hermnet.errors import InputError
from hermnet.graph import collate
from hermnet.model_options import ModelOptions
from hermnet.neighbors import graph_from_atoms
from hermnet.potential import Potential
from hermnet.subnets.painn import PaiNN
from hermnet.subnets.schnet import SchNet

ELEMENTS = (1, 6, 8)
SMALL = ModelOptions(n_channels=8, n_layers=2, n_radial=8, cutoff=3.0)
SMALL64 = replace(SMALL, dtype="float64")


def graph_of(*structures_: Atoms, cutoff: float = 3.0):
    return collate([graph_from_atoms(atoms, cutoff) for atoms in structures_])


def test_what_is_asked_for_is_returned():
    potential, graph = Potential(SMALL, ELEMENTS, 10.0), graph_of(structures.molecule())
    asked = {
        (forces, stress): potential(graph, forces=forces, stress=stress)
        for forces in (False, True)
        for stress in (False, True)
    }
    for (forces, stress), found in asked.items():
        assert (found.forces is not None, found.stress is not None) == (forces, stress)
        assert torch.equal(found.energy, asked[True, True].energy)
    both = asked[True, True]
    assert (both.energy.shape, both.atomic_energies.shape) == ((1,), (9,))
    assert (both.forces.shape, both.stress.shape) == ((9, 3), (1, 3, 3))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtypes(dtype: str):
    potential = Potential(replace(SMALL, dtype=dtype), ELEMENTS, 10.0)
    assert {p.dtype for p in potential.parameters()} == {getattr(torch, dtype)} == {potential.dtype}
    found = evaluate(potential, graph_of(structures.molecule()))
    assert found.forces.dtype == potential.dtype
    assert found.energy.dtype == found.atomic_energies.dtype == torch.float64


@pytest.mark.parametrize("sharing", ["independent", "basis:2", "shared"])
@pytest.mark.parametrize("relations", ["none", "vertex", "pair", "triadic"])
def test_float32_follows_float64(relations: str, sharing: str):
    exact = random_potential(replace(SMALL64, relations=relations, sharing=sharing), ELEMENTS)
    short = Potential(replace(exact.options, dtype="float32"), ELEMENTS, exact.mean_neighbors)
    short.load_state_dict(exact.state_dict())
    atoms = structures.molecule()
    one, other = predict(short, atoms), predict(exact, atoms)
    assert_near(one.energy, other.energy, 1e-5)
    assert_near(one.forces.double(), other.forces, 1e-4)


def test_positions_far_from_the_origin_keep_their_accuracy():
    potential = random_potential(SMALL, ELEMENTS)
    near, far = structures.molecule(), structures.molecule()
    far.positions += (1e5, -2e5, 3e5)  # float32 has steps of 0.01 A there
    one, other = predict(potential, far), predict(potential, near)
    assert_near(one.energy, other.energy, 1e-6)
    assert_near(one.forces, other.forces, 1e-5)


def test_no_graph_is_kept_where_gradients_are_off():
    potential, graph = Potential(SMALL, ELEMENTS, 10.0), graph_of(structures.molecule())
    with torch.no_grad():
        found = evaluate(potential, graph)
    assert not found.energy.requires_grad
    assert not found.forces.requires_grad
    assert_near(found.forces, evaluate(potential, graph).forces.detach(), 1e-5)


@pytest.mark.parametrize("relations", ["vertex", "pair"])
def test_frozen_weights_still_give_forces(relations: str):
    potential = random_potential(replace(SMALL64, relations=relations), ELEMENTS)
    expected = predict(potential, structures.molecule(), Atoms("O")).forces
    potential.requires_grad_(False)
    found = predict(potential, structures.molecule(), Atoms("O")).forces
    assert torch.equal(found, expected)
    assert (predict(potential, Atoms("O")).forces == 0).all()


def test_without_layers_an_atom_has_the_energy_of_its_element():
    potential = random_potential(replace(SMALL64, n_layers=0), ELEMENTS)
    found = predict(potential, structures.molecule())
    assert len(found.atomic_energies.unique()) == 3
    assert (found.forces == 0).all()


@pytest.mark.parametrize("radial", ["bessel", "sine", "gaussian", "bernstein"])
@pytest.mark.parametrize("envelope", ["cosine", "polynomial"])
def test_every_radial_basis_and_envelope(radial: str, envelope: str):
    potential = random_potential(replace(SMALL64, radial=radial, envelope=envelope), ELEMENTS)
    expected = finite_difference_forces(potential, structures.molecule())
    forces = predict(potential, structures.molecule()).forces
    torch.testing.assert_close(forces, expected, rtol=1e-6, atol=1e-6)


def test_reference_energies_and_scale():
    potential, graph = Potential(SMALL64, ELEMENTS, 10.0), graph_of(structures.molecule())
    before = evaluate(potential, graph)
    potential.set_reference({1: -1.0, 6: -5.0, 8: -7.0}, scale=2.0)
    after = evaluate(potential, graph)
    assert_near(after.energy, 2 * before.energy - (6 * 1.0 + 2 * 5.0 + 7.0), 1e-12)
    assert_near(after.forces, 2 * before.forces, 1e-12)


def test_an_unknown_element_is_refused_by_name():
    potential = Potential(SMALL, ELEMENTS, 10.0)
    with pytest.raises(InputError, match="does not know Ti, Ba; it was trained on H, C, O"):
        potential(graph_of(structures.molecule(), structures.crystal()))


def test_hybrid_gives_relations_their_own_sub_network():
    options = replace(SMALL64, relations="pair", subnet={"default": "schnet", "H-O": "painn"})
    potential = random_potential(options, ELEMENTS)
    kinds = {
        type(part): served
        for part, served in zip(potential.router.layers[0], potential.router.served, strict=True)
    }
    ho = potential.relation_labels.index("H-O")
    assert kinds[PaiNN] == (ho,)
    assert sorted(kinds[SchNet]) == [k for k in range(9) if k != ho]
    atoms = structures.molecule()
    expected = finite_difference_forces(potential, atoms)
    torch.testing.assert_close(predict(potential, atoms).forces, expected, rtol=1e-6, atol=1e-6)


def test_hybrid_weights_act_in_their_relation_only():
    options = replace(SMALL64, relations="pair", subnet={"default": "schnet", "H-O": "painn"})
    potential = random_potential(options, ELEMENTS)
    oxygen_free = Atoms("CH3C", [(0, 0, 0), (1, 0, 0.1), (0, 1, 0.2), (0.1, 0, 1), (-1.1, -0.6, 0)])
    frames = (oxygen_free, structures.molecule())
    before = [predict(potential, atoms).energy.detach() for atoms in frames]
    with torch.no_grad():
        for layer in potential.router.layers:
            for part in layer:
                if isinstance(part, PaiNN):
                    for parameter in part.parameters():
                        parameter.mul_(1.5)
    after = [predict(potential, atoms).energy.detach() for atoms in frames]
    assert torch.equal(after[0], before[0])
    assert abs(after[1] - before[1]) > 1e-6


def test_relations_of_classes():
    options = replace(SMALL64, relations="pair", classes={"X": ["C", "O"], "H": ["H"]})
    potential = random_potential(options, ELEMENTS)
    assert potential.relation_labels == ("H-H", "H-X", "X-H", "X-X")
    weights = potential.router.layers[0][0].source_in.stack.weight
    assert weights.shape[0] == 4
    atoms, swapped = structures.molecule(), structures.molecule()
    swapped.numbers = [{6: 8, 8: 6}.get(z, z) for z in swapped.numbers]
    with torch.no_grad():  # alike but for the embedding, and that made equal: no difference left
        potential.embedding.weight[2] = potential.embedding.weight[1]
    potential.set_reference({1: 0.0, 6: 0.0, 8: 0.0}, 1.0)
    assert_near(predict(potential, swapped).energy, predict(potential, atoms).energy, 1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heterogeneity": "filter"}, r"model.heterogeneity: unknown 'filter'; did you mean"),
        ({"dtype": "float23"}, r"model.dtype: unknown 'float23'; did you mean 'float32'"),
        ({"subnet": "pain"}, r"unknown sub-network 'pain'; did you mean 'painn'"),
        ({"relations": "pairs"}, r"model.relations: unknown 'pairs'; did you mean 'pair'"),
        ({"sharing": "basis"}, r"model.sharing: 'basis' is not independent"),
        ({"classes": "rows"}, r"model.classes: unknown 'rows'"),
        ({"radial": "gauss"}, r"unknown radial basis 'gauss'; did you mean 'gaussian'"),
        ({"envelope": "poly"}, r"unknown envelope 'poly'"),
        ({"cutoff": 0.0}, r"model.cutoff: 0.0 A is not a positive distance"),
        ({"cutoff": -1.0}, r"model.cutoff: -1.0 A is not a positive distance"),
        ({"cutoff": float("nan")}, r"model.cutoff: nan A is not a positive distance"),
        ({"n_channels": 0}, r"model.n_channels: 0 is too small; at least 1"),
        ({"n_layers": -1}, r"model.n_layers: -1 is too small; at least 0"),
        ({"n_radial": 0}, r"model.n_radial: 0 is too small; at least 1"),
        ({"lmax": 0}, r"model.lmax: 0 is too small for the sub-network; at least 1"),
        ({"subnet": {"default": "painn", "H": "pain"}}, r"unknown sub-network 'pain'"),
        ({"subnet": {"default": "painn", "N": "schnet"}}, r"model.subnet: 'N' is no relation"),
        ({"subnet": {"H": "painn"}}, r"model.subnet: nothing serves the relation 'C'"),
    ],
    ids=str,
)
def test_options_that_cannot_be_used_are_refused(change: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        Potential(replace(SMALL, **change), ELEMENTS, 10.0)
    assert torch.get_default_dtype() == torch.float32


def test_features_may_have_more_degrees_than_the_sub_network_uses():
    options = replace(SMALL64, lmax=3)
    potential = random_potential(options, ELEMENTS)
    expected = finite_difference_forces(potential, structures.molecule())
    forces = predict(potential, structures.molecule()).forces
    torch.testing.assert_close(forces, expected, rtol=1e-6, atol=1e-6)
