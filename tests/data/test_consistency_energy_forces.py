from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms

import consistent
from hermnet.data.consistency import Verdict
from hermnet.data.consistency_energy_forces import check_energy_forces
from hermnet.graph import AtomicGraph

FAULTS = [
    ("forces", -1.0, "forces with the opposite sign"),
    ("energy", 1 / consistent.KCAL, "energies in kcal/mol read as eV"),
    ("forces", 1 / consistent.KCAL, "forces in kcal/mol/A read as eV/A"),
    ("forces", 1 / 51.422, "forces in Hartree/Bohr read as eV/A"),
    ("energy", 1 / 27.2114, "energies in Hartree read as eV"),
    ("forces", 0.529177, "forces in eV/Bohr read as eV/A"),
]


@pytest.fixture(scope="module")
def molecules() -> list[AtomicGraph]:
    return consistent.ethanol(300)


@pytest.fixture(scope="module")
def crystals() -> list[AtomicGraph]:
    return consistent.hot_alloy(20, stdev=0.05)


def check(graphs: list[AtomicGraph]):
    return check_energy_forces("train", consistent.frames(graphs))


def test_energies_and_forces_of_molecules_agree(molecules: list[AtomicGraph]):
    found = check(molecules)
    assert found.verdict is Verdict.OK
    assert found.fit.slope == pytest.approx(1, abs=0.1)
    assert found.text.startswith("slope ")
    assert "pairs" in found.text
    assert len(found.expected) == len(found.labelled) == found.fit.n_points


def test_energies_and_forces_of_crystals_agree(crystals: list[AtomicGraph]):
    found = check(crystals)
    assert found.verdict is Verdict.OK
    assert found.fit.slope == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(("label", "factor", "words"), FAULTS)
@pytest.mark.parametrize("kind", ["molecules", "crystals"])
def test_a_wrong_unit_or_sign_is_named(
    kind: str, label: str, factor: float, words: str, request: pytest.FixtureRequest
):
    found = check(consistent.scaled(request.getfixturevalue(kind), label, factor))
    assert found.verdict is Verdict.SUSPICIOUS
    assert words in found.text


def test_energies_per_atom_are_named(molecules: list[AtomicGraph]):
    found = check(consistent.scaled(molecules, "energy", 1 / 9))
    assert found.verdict is Verdict.SUSPICIOUS
    assert "energies per atom read as energies of the whole frame" in found.text


def test_turned_and_mirrored_molecules_count_as_before(molecules: list[AtomicGraph]):
    turned = []
    for k, graph in enumerate(molecules):
        turn = consistent.rotation(k) * (-1) ** k
        positions = graph.positions @ turn + torch.tensor([1.0, -2.0, 3.0]) * k
        turned.append(replace(graph, positions=positions, forces=graph.forces @ turn))
    before, after = check(molecules), check(turned)
    assert after.fit.slope == pytest.approx(before.fit.slope, abs=1e-6)
    assert np.sort(after.expected) == pytest.approx(np.sort(before.expected), abs=1e-6)


def test_atoms_may_be_wrapped_and_drift(crystals: list[AtomicGraph]):
    moved = []
    for k, graph in enumerate(crystals):
        steps = np.random.default_rng(k).integers(-2, 3, size=(graph.n_atoms, 3))
        moved_by = torch.tensor(steps, dtype=torch.float64) @ graph.cell[0] + 0.01 * k
        moved.append(replace(graph, positions=graph.positions + moved_by))
    before, after = check(crystals), check(moved)
    assert after.fit.slope == pytest.approx(before.fit.slope, abs=1e-6)


def test_shuffled_energies_say_nothing(molecules: list[AtomicGraph]):
    order = np.random.default_rng(0).permutation(len(molecules))
    mixed = [replace(g, energy=molecules[k].energy) for g, k in zip(molecules, order, strict=True)]
    assert check(mixed).verdict is not Verdict.OK


def test_reasons_for_saying_nothing(molecules: list[AtomicGraph], crystals: list[AtomicGraph]):
    def reason(graphs: list[AtomicGraph]) -> str:
        found = check(graphs)
        assert found.verdict is Verdict.NOT_CONCLUSIVE
        return found.text

    assert "no frame has energy and forces" in reason([])
    assert "no frame has" in reason([replace(g, forces=None) for g in molecules])
    assert "no frame has" in reason(consistent.scaled(molecules, "energy", float("nan")))
    assert "the forces are zero" in reason(consistent.scaled(molecules, "forces", 0.0))
    assert "only 1 pairs of frames are close" in reason(crystals[:2])
    larger = [replace(g, cell=g.cell * (1 + 0.01 * k)) for k, g in enumerate(crystals)]
    assert "no two frames share" in reason(larger)


def test_single_atoms_say_nothing():
    atoms = [consistent.labelled_graph(Atoms("Cu", positions=[[k, 0, 0]])) for k in range(12)]
    assert check(atoms).verdict is Verdict.NOT_CONCLUSIVE
