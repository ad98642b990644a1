"""The contract of a sub-network as tests to inherit.

A sub-network, of this project or of another, proves itself in a file of its own::

    from hermnet.testing import SubnetContract

    class TestMine(SubnetContract):
        subnet = "mine"

Every test runs for all relation schemes and ways of sharing weights, some with layers that know no
relations, in float64; compilation, in tests marked ``slow``, for one of the combinations. With
HERMNET_TEST_DEVICE=cuda in the environment they run on a GPU.
"""

from __future__ import annotations

import os
from dataclasses import fields, replace
from typing import Any, ClassVar, cast

import pytest
import torch
from ase import Atoms
from torch import Tensor
from torch.autograd import gradgradcheck
from torch.func import functional_call

from hermnet.checks import (
    approach,
    assert_equivariant,
    assert_near,
    assert_same,
    device_of,
    energy_of,
    evaluate,
    finite_difference_forces,
    finite_difference_stress,
    permute_atoms,
    permute_edges,
    predict,
    random_potential,
    rows_that_lack,
    weight_gradients,
    with_elements,
)
from hermnet.compiled import CompiledEvaluator
from hermnet.graph import collate
from hermnet.kernels.choice import plain_operators
from hermnet.model_options import ModelOptions
from hermnet.neighbors import graph_from_atoms
from hermnet.potential import Potential

DEVICE = torch.device(os.environ.get("HERMNET_TEST_DEVICE", "cpu"))
NOISE = 0.0 if DEVICE.type == "cpu" else 1e-10  # sums on GPUs have no order
SCHEMES = ("none", "vertex", "pair", "triadic")
SHARINGS = ("independent", "basis:2", "shared")
ELEMENTS = (6, 1, 7, 8)  # not sorted; nitrogen is in none of the structures below

PARTS = ("relations", "sharing", "heterogeneity", "n_layers")  # "none" makes the next two idle
COMBINATIONS = [("none", "independent", "full"), ("vertex", "independent", "filters")]
COMBINATIONS += [("triadic", "basis:2", "filters"), ("pair", "independent", "update")]
COMBINATIONS += [(scheme, sharing, "full") for scheme in SCHEMES[1:] for sharing in SHARINGS]
COMPILED = [("triadic", "basis:2", "full", 1)]  # gates, sides and mixed weights; each layer costs


def molecule(seed: int = 0) -> Atoms:
    """Formic acid, distorted."""
    positions = [  # A
        (0.00, 0.42, 0.10),
        (-1.03, -0.44, 0.00),
        (1.16, 0.11, -0.12),
        (-0.38, 1.45, 0.05),
        (-0.65, -1.33, -0.20),
    ]
    atoms = Atoms("COOHH", positions=positions)
    atoms.rattle(stdev=0.1, seed=seed)
    return atoms


def crystal() -> Atoms:
    """Five atoms in a triclinic cell that is shorter than the contract's cutoff."""
    places = [
        (0.02, 0.03, 0.0),
        (0.5, 0.31, 0.1),
        (0.1, 0.6, 0.35),
        (0.55, 0.8, 0.6),
        (0.0, 0.2, 0.7),
    ]
    cell = [[2.7, 0.1, 0.0], [0.5, 3.3, 0.2], [-0.4, 0.3, 3.6]]
    return Atoms("COHHO", scaled_positions=places, cell=cell, pbc=True)


class SubnetContract:
    """What holds for every sub-network; set `subnet` in a subclass.

    Attributes:
        subnet: what a recipe says under ``model.subnet``: a name, or a mapping with ``name`` and
            options.
        options: other settings of the model, over `ModelOptions` and the small sizes used here.
    """

    subnet: ClassVar[str | dict[str, Any]]
    options: ClassVar[dict[str, Any]] = {}

    @pytest.fixture(scope="class", params=COMBINATIONS, ids="-".join)
    @classmethod
    def potential(cls, request: pytest.FixtureRequest) -> Potential:
        """A small potential with random weights, for each scheme and sharing."""
        asked = dict(zip(PARTS, request.param, strict=False))
        small = {"n_channels": 4, "n_layers": 2, "n_radial": 5, "cutoff": 3.0, "dtype": "float64"}
        chosen = {**small, **cls.options, "subnet": cls.subnet}
        return random_potential(ModelOptions(**{**chosen, **asked}), ELEMENTS).to(DEVICE)

    def test_turns_with_the_structure(self, potential: Potential) -> None:
        """Energy is invariant, forces and stress are equivariant under O(3) and translation."""
        graphs = [graph_from_atoms(atoms, potential.cutoff) for atoms in (molecule(), crystal())]
        assert_equivariant(potential, collate(graphs))

    def test_order_of_atoms_and_edges(self, potential: Potential) -> None:
        """Neither order matters."""
        graph = graph_from_atoms(crystal(), potential.cutoff)
        before = evaluate(potential, graph)
        shuffled = permute_edges(graph, torch.randperm(graph.n_edges))
        assert_same(evaluate(potential, shuffled), before, 1e-10)
        order = torch.tensor([3, 0, 4, 1, 2])
        after = evaluate(potential, permute_atoms(graph, order))
        assert_near(after.energy, before.energy, 1e-10)
        assert_near(after.forces, before.forces[order], 1e-10)
        assert_near(after.stress, before.stress, 1e-10)

    def test_forces_are_central_differences(self, potential: Potential) -> None:
        """Forces are the negative slope of the energy, in a molecule and in a crystal."""
        for atoms in (molecule(), crystal()):
            expected = finite_difference_forces(potential, atoms)
            assert expected.abs().max() > 1e-3
            torch.testing.assert_close(
                predict(potential, atoms).forces, expected, rtol=1e-6, atol=1e-6
            )

    def test_stress_is_central_differences(self, potential: Potential) -> None:
        """Stress is the slope of the energy in strain over the volume."""
        expected = finite_difference_stress(potential, crystal())
        stress = predict(potential, crystal()).stress
        assert expected.abs().max() > 1e-4
        torch.testing.assert_close(stress[0], expected, rtol=1e-6, atol=1e-6)

    def test_second_derivatives(self, potential: Potential) -> None:
        """Those of the energy in positions and weights: what a loss on forces trains with."""
        graph = graph_from_atoms(molecule()[:4], potential.cutoff)
        named = dict(potential.named_parameters())
        # along random directions through all weights: few numbers, so that a failure is told soon
        directions = [torch.randn(2, *w.shape, dtype=w.dtype).to(DEVICE) for w in named.values()]

        def energy(positions: Tensor, amounts: Tensor) -> Tensor:
            parts, along = zip(named.items(), directions, strict=True), amounts.to(DEVICE)
            state = {name: w.detach() + torch.tensordot(along, d, 1) for (name, w), d in parts}
            moved = (replace(graph, positions=positions).to(DEVICE),)
            prediction = functional_call(potential, state, moved, {"forces": False})
            return cast(Tensor, prediction.energy.cpu())

        amounts = torch.zeros(2, dtype=torch.float64, requires_grad=True)
        inputs = (graph.positions.clone().requires_grad_(), amounts)
        assert gradgradcheck(energy, inputs, fast_mode=True, atol=1e-6, nondet_tol=NOISE)

    def test_batch_equals_singles(self, potential: Potential) -> None:
        """Structures of a batch do not see each other."""
        structures = [molecule(), crystal(), molecule(seed=1)]
        together, *singles = (predict(potential, *s) for s in (structures, *zip(structures)))
        for name in ("energy", "atomic_energies", "forces", "stress"):
            expected = torch.cat([getattr(single, name) for single in singles])
            assert_near(getattr(together, name), expected, 1e-10)

    def test_no_gradient_across_systems(self, potential: Potential) -> None:
        """The energy of one structure has exactly no slope in the atoms of another."""
        graph = collate([graph_from_atoms(a, potential.cutoff) for a in (molecule(), crystal())])
        positions = graph.positions.clone().requires_grad_()
        energy = energy_of(potential, replace(graph, positions=positions))
        (gradient,) = torch.autograd.grad(energy[0], positions)
        assert (gradient[graph.batch == 0] != 0).any()
        assert (gradient[graph.batch == 1] == 0).all()

    def test_fragments_add(self, potential: Potential) -> None:
        """Fragments out of reach of each other have the sum of their energies, their own forces."""
        one, other = molecule(), molecule(seed=1)[[0, 1, 3]]
        other.rotate(50, (1, 2, 3))
        other.translate((20.0, 0.0, 0.0))
        apart, joined = predict(potential, one, other), predict(potential, one + other)
        assert_near(joined.energy, apart.energy.sum(0, keepdim=True), 1e-10)
        assert_near(joined.forces, apart.forces, 1e-10)

    @pytest.mark.parametrize("pbc", [(True, True, True), (True, False, True)], ids=["bulk", "slab"])
    def test_supercell(self, potential: Potential, pbc: tuple[bool, bool, bool]) -> None:
        """The energy grows with the number of cells, images of one atom within reach or not."""
        atoms = crystal()
        atoms.pbc = pbc
        repeats = (2, 2 if pbc[1] else 1, 1)
        n = repeats[0] * repeats[1]
        one = predict(potential, atoms)
        many = predict(potential, atoms.repeat(repeats))
        assert_near(many.energy, n * one.energy, 1e-10)
        assert_near(many.forces, one.forces.repeat(n, 1), 1e-9)
        assert_near(many.stress, one.stress, 1e-9)

    def test_lattice_vector_changes_nothing(self, potential: Potential) -> None:
        """An atom may be named by any of its images."""
        atoms = crystal()
        atoms.positions[1] += atoms.cell[0] - 2 * atoms.cell[2]
        before = predict(potential, crystal())
        assert_same(predict(potential, atoms), before, 1e-10)

    @pytest.mark.parametrize("fragment", ["N", "NO", "HO"])
    def test_smooth_at_the_cutoff(self, potential: Potential, fragment: str) -> None:
        """Energy and forces have no jump where an atom comes into the reach of another.

        N is the first neighbor of its relations, alone or in a molecule; H has others of its kind.
        """
        offsets = (-0.6, -1e-4, -1e-6, 1e-6, 1e-4, 1.0)
        result = predict(potential, *(approach(potential.cutoff + s, fragment) for s in offsets))
        energy, forces = result.energy.detach(), result.forces.view(len(offsets), -1, 3)
        assert abs(energy[0] - energy[5]) > 1e-5, "the neighbor is not felt at all"
        assert abs(energy[2] - energy[3]) < 1e-9
        assert_near(energy[4], energy[5], 1e-12)
        coarse, fine = ((forces[k] - forces[5 - k]).abs().max() for k in (1, 2))
        assert fine < 0.02 * coarse + 1e-10  # a slope is a hundredth, as the step; a jump stays

    def test_atoms_beyond_the_cutoff_change_nothing(self, potential: Potential) -> None:
        """Neither where the neighbor list leaves them out nor where it is longer than needed."""
        graph = graph_from_atoms(approach(potential.cutoff + 0.2, "NO"), potential.cutoff)
        wide = graph_from_atoms(approach(potential.cutoff + 0.2, "NO"), potential.cutoff + 1.0)
        assert wide.n_edges > graph.n_edges
        assert_same(evaluate(potential, wide), evaluate(potential, graph), 1e-12)

    @pytest.mark.parametrize("elements", [(8, 7, 6, 1), (1, 8, 6)], ids=["reordered", "fewer"])
    def test_list_of_elements(self, potential: Potential, elements: tuple[int, ...]) -> None:
        """Its order permutes weights only, and elements that are absent change nothing."""
        other = with_elements(potential, elements)
        for atoms in (molecule(), crystal()):
            assert_same(predict(other, atoms), predict(potential, atoms), 1e-10)

    def test_lonely_atoms(self, potential: Potential) -> None:
        """An isolated atom works, alone as a graph without edges or beside others."""
        atoms = predict(potential, Atoms("N"), Atoms("OH", positions=[(0, 0, 0), (9, 0, 0)]))
        assert atoms.energy.isfinite().all()
        assert (atoms.forces == 0).all()
        beside = predict(potential, Atoms("N"), molecule())
        assert_near(beside.energy[:1], atoms.energy[:1], 1e-12)
        assert_near(beside.forces[1:], predict(potential, molecule()).forces, 1e-10)

    def test_every_parameter_gets_a_gradient(self, potential: Potential) -> None:
        """Finite after a loss on energy, forces and stress; zero for relations the batch lacks."""
        result = predict(potential, crystal())
        targets = (result.energy, result.forces, result.stress)
        loss = torch.stack([target.square().sum() for target in targets]).sum()
        gradients = torch.autograd.grad(loss, list(potential.parameters()))  # refuses an unused one
        by_name = dict(zip(dict(potential.named_parameters()), gradients, strict=True))
        assert all(gradient.isfinite().all() for gradient in gradients)
        for name, absent in rows_that_lack(potential, 7).items():
            assert (by_name[name][absent] == 0).all(), name
        assert sum(bool((g != 0).any()) for g in gradients) > 0.7 * len(gradients)

    def test_input_and_state_stay(self, potential: Potential) -> None:
        """The graph is not written into, and a state dict carries everything."""
        graph = graph_from_atoms(crystal(), potential.cutoff)
        copies = {f.name: getattr(graph, f.name) for f in fields(graph)}
        copies = {name: value.clone() for name, value in copies.items() if value is not None}
        before = evaluate(potential, graph)
        for name, value in copies.items():
            assert torch.equal(getattr(graph, name), value), name
        other = Potential(potential.options, potential.elements, potential.mean_neighbors)
        other.to(device_of(potential))
        other.load_state_dict(potential.state_dict())
        assert_same(evaluate(other, graph), before, NOISE)

    def test_kernels_equal_plain_operators(self, potential: Potential) -> None:
        """Predictions and weight gradients, with the kernels of this package and without."""
        structures = (crystal(), molecule())
        found, slopes = predict(potential, *structures), weight_gradients(potential, *structures)
        with plain_operators():
            assert_same(found, predict(potential, *structures), 1e-10)
            plain = weight_gradients(potential, *structures)
        for slope, expected in zip(slopes, plain, strict=True):
            assert_near(slope, expected, 1e-10)

    @pytest.mark.slow
    @pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's, of its own parts
    @pytest.mark.parametrize("potential", COMPILED, indirect=True, ids=["-".join(COMPILED[0][:3])])
    def test_compiled_equals_eager(
        self, potential: Potential, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Predictions and weight gradients, also for a batch of another size than the first."""
        batches = [(crystal(),), (crystal(), molecule(), molecule(seed=1))]
        eager = [predict(potential, *batch) for batch in batches]
        slopes = weight_gradients(potential, *batches[1])
        monkeypatch.setattr(potential, "evaluate", CompiledEvaluator())
        compiled = [predict(potential, *batch) for batch in batches]
        for one, other in zip(compiled, eager, strict=True):
            assert_same(one, other, 1e-6)
        found = weight_gradients(potential, *batches[1])
        for slope, expected in zip(found, slopes, strict=True):
            assert_near(slope, expected, 1e-6)
