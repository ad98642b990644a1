from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.lj import LennardJones

import consistent
from hermnet.data.consistency import Verdict
from hermnet.data.consistency_pair_labels import ENERGY, STRESS, check_pair_model
from hermnet.data.consistency_pair_model import fit_and_predict
from hermnet.graph import AtomicGraph


@pytest.fixture(scope="module")
def alloys() -> list[AtomicGraph]:
    return consistent.hot_alloy(40)


def check(graphs: list[AtomicGraph]):
    energy, stress = check_pair_model("train", consistent.frames(graphs))
    assert (energy.name, stress.name) == (ENERGY, STRESS)
    return energy, stress


def test_the_model_gives_energy_and_stress_of_pair_potentials():
    graphs = []
    for k in range(16):
        atoms = bulk("Ar", cubic=True, a=5.2).repeat((2, 1, 1))
        strain = 0.01 * np.random.default_rng(k).normal(size=(3, 3))
        atoms.set_cell(atoms.cell @ (np.eye(3) + strain), scale_atoms=True)
        atoms.rattle(0.15, seed=k)
        lennard_jones = LennardJones(sigma=3.3, epsilon=0.1, rc=5.9, smooth=True, ro=4.0)
        graphs.append(consistent.labelled_graph(atoms, lennard_jones))
    found = fit_and_predict(consistent.frames(graphs))
    stress = np.concatenate([graph.stress.numpy() for graph in graphs])
    energies = np.array([float(graph.energy) for graph in graphs])
    assert found.explained > 0.999
    assert found.explained_by_frame.min() > 0.99
    assert np.corrcoef(found.energies, energies)[0, 1] > 0.99
    for i in range(3):
        for j in range(3):
            slope, _ = np.polyfit(stress[:, i, j], found.stress[:, i, j], 1)
            assert slope == pytest.approx(1, abs=0.1)


def test_consistent_labels_are_ok(alloys: list[AtomicGraph]):
    energy, stress = check(alloys)
    assert energy.verdict is Verdict.OK
    assert stress.verdict is Verdict.OK
    assert "of the forces explained" in stress.text


@pytest.mark.parametrize(
    ("label", "factor", "words"),
    [
        ("stress", -1.0, "stress, or else forces, with the opposite sign"),
        ("forces", -1.0, "stress, or else forces, with the opposite sign"),
        ("stress", 10.0, "stress in kbar read as GPa"),
        ("stress", 160.2, "stress in GPa read as eV/A^3"),
        ("forces", 1 / consistent.KCAL, "forces in kcal/mol/A read as eV/A"),
    ],
)
def test_a_wrong_stress_is_named(alloys: list[AtomicGraph], label: str, factor: float, words: str):
    _, stress = check(consistent.scaled(alloys, label, factor))
    assert stress.verdict is Verdict.SUSPICIOUS
    assert words in stress.text


def test_wrong_energies_are_named(alloys: list[AtomicGraph]):
    energy, stress = check(consistent.scaled(alloys, "energy", 1 / consistent.KCAL))
    assert energy.verdict is Verdict.SUSPICIOUS
    assert "energies in kcal/mol read as eV" in energy.text
    assert stress.verdict is Verdict.OK


@pytest.mark.parametrize(("one", "other"), [("yz", "xy"), ("yz", "xz")])
def test_exchanged_shears_are_named(alloys: list[AtomicGraph], one: str, other: str):
    _, stress = check(consistent.exchanged(alloys, one, other))
    assert stress.verdict is Verdict.SUSPICIOUS
    assert f"{one} goes with {other}" in stress.text
    assert f"{other} goes with {one}" in stress.text


def test_reasons_for_saying_nothing(alloys: list[AtomicGraph]):
    def reason(graphs: list[AtomicGraph]) -> str:
        energy, stress = check(graphs)
        assert energy.verdict is stress.verdict is Verdict.NOT_CONCLUSIVE
        return stress.text

    assert "only 3 frames have forces" in reason(alloys[:3])
    assert "only 0 frames" in reason(consistent.scaled(alloys, "forces", 0.0))
    assert "only 0 frames" in reason([graph.without_labels() for graph in alloys])


def test_forces_without_order_say_nothing(alloys: list[AtomicGraph]):
    order = [*alloys[1:], alloys[0]]
    mixed = [replace(g, forces=o.forces) for g, o in zip(alloys, order, strict=True)]
    energy, stress = check(mixed)
    assert energy.verdict is stress.verdict is Verdict.NOT_CONCLUSIVE
    assert "the pair model explains only" in stress.text
