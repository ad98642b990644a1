from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

import consistent
import structures
from hermnet.data.consistency import Verdict
from hermnet.data.inspection import Inspection, inspect_splits
from hermnet.data.inspection_distances import measure
from hermnet.data.inspection_frames import Frame
from hermnet.errors import InputError
from hermnet.graph import AtomicGraph
from hermnet.neighbors import graph_from_atoms, with_neighbors


@pytest.fixture(scope="module")
def alloys() -> list[AtomicGraph]:
    return consistent.hot_alloy(24)


@pytest.fixture(scope="module")
def inspection(alloys: list[AtomicGraph]) -> Inspection:
    return inspect_splits({"train": alloys[:16], "val": [], "test": alloys[16:]})


def text(inspection: Inspection) -> str:
    return "\n".join(inspection.lines())


def test_a_sound_set_has_no_problem(inspection: Inspection):
    assert inspection.problems == []
    assert inspection.notes == []
    assert "no problem found" in inspection.lines()
    assert all(check.verdict is not Verdict.SUSPICIOUS for check in inspection.checks)


def test_the_report_gives_counts_and_ranges(alloys: list[AtomicGraph], inspection: Inspection):
    lines = inspection.lines()
    assert lines[0] == "train: 16 frames, 256 atoms"
    assert "  elements      Cu Au" in lines
    assert "  compositions  Au4Cu12 (16)" in lines
    assert "  labels        energy, forces, stress" in lines
    energies = np.array([float(graph.energy) / 16 for graph in alloys[:16]])
    assert f"  energy        {energies.min():.6g} to {energies.max():.6g} eV/atom" in lines
    train, test = inspection.splits
    assert (train.n_frames, test.n_frames) == (16, 8)
    assert train.labels == {"energy": 16, "forces": 16, "stress": 16}
    expected = alloys[0].stress[0].numpy() * 160.21766
    assert train.stress[0] == pytest.approx(expected[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]])
    assert any("OK" in line and "stress against a pair model" in line for line in lines)


@pytest.mark.parametrize("atoms", [structures.crystal(), structures.mixture(), molecule("C6H6")])
@pytest.mark.parametrize("cutoff", [None, 2.0, 6.0])
def test_the_shortest_distance_is_that_of_ase(atoms: Atoms, cutoff: float | None):
    graph = graph_from_atoms(atoms, cutoff)
    found = measure(Frame("train", 0, graph))
    expected = atoms.get_all_distances(mic=True)
    np.fill_diagonal(expected, np.inf)
    assert found.shortest == pytest.approx(expected.min())
    assert expected[found.atoms] == pytest.approx(expected.min())


def test_an_image_of_the_atom_itself_counts():
    found = measure(Frame("train", 0, graph_from_atoms(bulk("Cu", a=3.6))))
    assert found.shortest == pytest.approx(3.6 / 2**0.5)
    far = measure(Frame("train", 0, graph_from_atoms(Atoms("He2", [[0, 0, 0], [9.5, 0, 0]]))))
    assert (far.shortest, set(far.atoms)) == (9.5, {0, 1})
    alone = measure(Frame("train", 0, graph_from_atoms(Atoms("He"))))
    assert alone.shortest == np.inf


def test_edges_of_the_graph_change_nothing(alloys: list[AtomicGraph]):
    bare, linked = (inspect_splits({"train": g}) for g in (alloys, _linked(alloys, 5.0)))
    assert linked.lines() == bare.lines()


def _linked(graphs: list[AtomicGraph], cutoff: float) -> list[AtomicGraph]:
    return [with_neighbors(graph, cutoff) for graph in graphs]


def test_two_atoms_at_one_place_are_a_problem(alloys: list[AtomicGraph]):
    positions = alloys[2].positions.clone()
    positions[5] = positions[1] + alloys[2].cell[0, 0]
    bad = [*alloys[:2], replace(alloys[2], positions=positions), *alloys[3:]]
    found = inspect_splits({"train": bad})
    assert len(found.problems) == 1
    assert "train frame 2: atoms 1 (Cu) and 5 (Cu) at one place" in found.problems[0]
    assert all(check.verdict is not Verdict.SUSPICIOUS for check in found.checks)


def test_a_frame_without_a_usable_structure_is_a_problem(alloys: list[AtomicGraph]):
    positions = alloys[0].positions.clone()
    positions[3] = float("nan")
    found = inspect_splits({"train": [replace(alloys[0], positions=positions), *alloys[1:]]})
    assert found.problems == ["train frame 0: the position of atom 3 is not a finite number"]


def test_missing_labels_are_no_problem_but_broken_ones_are(alloys: list[AtomicGraph]):
    missing = [consistent.scaled(alloys[:1], "forces", float("nan"))[0], *alloys[1:]]
    broken = ["train frame 0: forces with NaN or infinity among its values"]
    assert inspect_splits({"train": missing}, masked=False).problems == broken
    found = inspect_splits({"train": missing})
    assert found.problems == []
    assert "  labels        energy, forces (23 of 24), stress" in found.lines()
    forces = alloys[0].forces.clone()
    forces[2, 1] = float("nan")
    found = inspect_splits({"train": [replace(alloys[0], forces=forces), *alloys[1:]]})
    assert found.problems == broken


def test_a_structure_in_two_splits_is_leakage(alloys: list[AtomicGraph]):
    found = inspect_splits({"train": alloys[:16], "test": [*alloys[16:], alloys[3]]})
    assert len(found.problems) == 1
    assert "LEAKAGE: the same structure in both train and test: 1 frames" in found.problems[0]
    assert "train frame 3 = test frame 8" in found.problems[0]


def test_the_same_structure_twice_within_a_split_is_a_note(alloys: list[AtomicGraph]):
    steps = torch.ones(16, 1, dtype=torch.float64) * alloys[3].cell[0, 1] + 0.5
    shifted = replace(alloys[3], positions=alloys[3].positions + steps)
    found = inspect_splits({"train": [*alloys, shifted]})
    assert found.problems == []
    assert found.notes == [
        "the same structure within train: 1 frames (train frame 3 = train frame 24)"
    ]


def test_one_structure_with_two_energies_is_a_problem(alloys: list[AtomicGraph]):
    other = replace(alloys[3], energy=alloys[3].energy + 0.3)
    found = inspect_splits({"train": [*alloys, other]})
    assert "one structure with two energies within train: 1 frames" in found.problems[0]


def test_a_turned_and_renumbered_molecule_is_found():
    graphs = consistent.ethanol(40)
    turn = consistent.rotation(1)
    order = torch.arange(8, -1, -1)
    turned = replace(
        graphs[7],
        atomic_numbers=graphs[7].atomic_numbers[order],
        positions=graphs[7].positions[order] @ turn,
        forces=graphs[7].forces[order] @ turn,
    )
    found = inspect_splits({"train": graphs, "test": [turned]})
    assert found.problems == []
    assert any("turned, mirrored" in n and "train frame 7 = test frame 0" in n for n in found.notes)


def test_outliers_and_net_forces_are_notes(alloys: list[AtomicGraph]):
    bad = replace(alloys[4], energy=alloys[4].energy + 100, forces=alloys[4].forces + 30.0)
    found = inspect_splits({"train": [*alloys[:4], bad, *alloys[5:]]})
    notes = "\n".join(found.notes)
    assert "energy per atom, less an energy for each element, more than 10 robust" in notes
    assert "largest force more than 10 robust standard deviations" in notes
    assert notes.count("train frame 4 (+") == 2
    assert f"do not sum to zero, but to {30 * 16 * 3**0.5:.3g} eV/A at most (train frame 4" in notes


def test_a_planted_fault_is_a_problem_of_its_split(alloys: list[AtomicGraph]):
    test = consistent.scaled(consistent.hot_alloy(16, seed=1), "stress", -10.0)
    found = inspect_splits({"train": alloys, "test": test})
    assert len(found.problems) == 1
    assert found.problems[0].startswith("test, stress against a pair model of the forces: slope")
    assert "opposite sign, and stress in kbar read as GPa" in found.problems[0]
    assert "problems" in found.lines()
    assert "SUSPICIOUS" in text(found)


def test_sets_with_few_labels_are_inspected():
    atoms = [structures.molecule(k) for k in range(3)]
    bare = inspect_splits({"train": [graph_from_atoms(a) for a in atoms]})
    assert bare.checks == ()
    assert "  labels        none" in bare.lines()
    energies = [
        replace(graph_from_atoms(a), energy=torch.tensor([float(k)])) for k, a in enumerate(atoms)
    ]
    assert "  labels        energy" in inspect_splits({"train": energies}).lines()


@pytest.mark.parametrize("splits", [{}, {"train": []}])
def test_no_frames_are_refused(splits: dict[str, list[AtomicGraph]]):
    with pytest.raises(InputError, match="there are no frames to check"):
        inspect_splits(splits)
