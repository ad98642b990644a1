from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import consistent
from hermnet.data.consistency import Verdict
from hermnet.data.consistency_strain import check_strain, voigt
from hermnet.graph import AtomicGraph


@pytest.fixture(scope="module")
def strained() -> list[AtomicGraph]:
    return consistent.strained_crystal()


def check(graphs: list[AtomicGraph]):
    return check_strain("train", consistent.frames(graphs))


def test_components_come_in_the_order_of_ase():
    matrix = torch.tensor([[[1.0, 6.0, 5.0], [6.0, 2.0, 4.0], [5.0, 4.0, 3.0]]]).numpy()
    assert voigt(matrix).tolist() == [[1, 2, 3, 4, 5, 6]]


def test_energies_and_stress_agree(strained: list[AtomicGraph]):
    found = check(strained)
    assert found.verdict is Verdict.OK
    assert found.fit.slope == pytest.approx(1, abs=0.02)
    assert found.fit.correlation > 0.999


@pytest.mark.parametrize(
    ("label", "factor", "words"),
    [
        ("stress", -1.0, "stress with the opposite sign"),
        ("stress", 10.0, "stress in kbar read as GPa"),
        ("stress", 160.2, "stress in GPa read as eV/A^3"),
        ("stress", -1602.0, "opposite sign (positive under pressure), and stress in kbar read as"),
        ("energy", 1 / consistent.KCAL, "energies in kcal/mol read as eV"),
    ],
)
def test_a_wrong_unit_or_sign_is_named(
    strained: list[AtomicGraph], label: str, factor: float, words: str
):
    found = check(consistent.scaled(strained, label, factor))
    assert found.verdict is Verdict.SUSPICIOUS
    assert words in found.text


def test_a_virial_is_named(strained: list[AtomicGraph]):
    virial = [replace(g, stress=g.stress * torch.linalg.det(g.cell).abs()) for g in strained]
    found = check(virial)
    assert found.verdict is Verdict.SUSPICIOUS
    assert "virial" in found.text


@pytest.mark.parametrize(("one", "other"), [("yz", "xy"), ("xz", "xy"), ("yz", "xz")])
def test_exchanged_shears_are_named(strained: list[AtomicGraph], one: str, other: str):
    found = check(consistent.exchanged(strained, one, other))
    assert found.verdict is Verdict.SUSPICIOUS
    assert f"the components {one} and {other} in another order" in found.text


def test_atoms_may_be_wrapped_and_shifted(strained: list[AtomicGraph]):
    moved = []
    for k, graph in enumerate(strained):
        steps = torch.zeros(graph.n_atoms, 3, dtype=torch.float64)
        steps[k % graph.n_atoms] = 1.0
        moved.append(replace(graph, positions=graph.positions + steps @ graph.cell[0] + 0.3 * k))
    before, after = check(strained), check(moved)
    assert after.fit.n_points == before.fit.n_points
    assert after.fit.slope == pytest.approx(before.fit.slope, abs=1e-9)


def test_reasons_for_saying_nothing(strained: list[AtomicGraph]):
    def reason(graphs: list[AtomicGraph]) -> str:
        found = check(graphs)
        assert found.verdict is Verdict.NOT_CONCLUSIVE
        return found.text

    assert "no periodic frame has energy and stress" in reason(consistent.ethanol(2))
    assert "only 0 pairs" in reason(consistent.hot_alloy(4))
    assert "do not vary" in reason(consistent.scaled(strained, "stress", 0.0))
