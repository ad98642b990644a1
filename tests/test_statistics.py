from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from hermnet.errors import InputError
from hermnet.graph import AtomicGraph
from hermnet.neighbors import graph_from_atoms
from hermnet.statistics import Statistics

ATOM = {1: -13.6, 6: -1030.0, 8: -2040.0}  # eV


def frame(
    name: str, offset: float = 0.0, forces: float | None = None, cutoff: float = 5.0
) -> AtomicGraph:
    """A molecule whose energy is that of its atoms plus an offset per atom."""
    atoms = molecule(name)
    energy = sum(ATOM[z] for z in atoms.numbers) + offset * len(atoms)
    labels = {"energy": torch.tensor([energy], dtype=torch.float64)}
    if forces is not None:
        labels["forces"] = torch.full((len(atoms), 3), forces, dtype=torch.float64)
    return replace(graph_from_atoms(atoms, cutoff), **labels)


def test_a_sum_over_atoms_is_found_exactly() -> None:
    found = Statistics.from_graphs([frame(name) for name in ("H2O", "CH4", "CO2", "CH3OH")])
    assert found.elements == (1, 6, 8)
    assert found.reference == pytest.approx(ATOM, abs=1e-8)
    assert (found.n_frames, found.n_atoms) == (4, 3 + 5 + 3 + 6)
    assert found.scale == 1.0
    assert found.notes == ["forces or energies do not vary: the scale is 1"]


def test_noise_is_averaged_by_least_squares() -> None:
    frames = [frame(name, offset) for name in ("H2", "O2") for offset in (-0.3, 0.1, 0.5)]
    found = Statistics.from_graphs(frames)
    assert found.reference == pytest.approx({1: ATOM[1] + 0.1, 8: ATOM[8] + 0.1})
    assert found.scale == pytest.approx(np.std([-0.4, 0.0, 0.4]))
    assert found.forces_rms == {}
    assert found.notes == []


def test_compositions_that_do_not_tell_elements_apart() -> None:
    found = Statistics.from_graphs([frame("H2O", forces=1.0), frame("H2O", forces=1.0)])
    mean = (2 * ATOM[1] + ATOM[8]) / 3
    assert found.reference == pytest.approx({1: mean, 8: mean})
    assert found.notes == [
        "the compositions do not determine the reference energies of H, O one by one (rank 1 of "
        "2): they share the mean energy per atom, and energies of other compositions are not "
        "comparable"
    ]


def test_only_the_elements_in_doubt_are_named() -> None:
    found = Statistics.from_graphs([frame("H2"), frame("CO2", 0.1), frame("CO2", -0.1)])
    assert found.reference[1] == pytest.approx(ATOM[1])
    assert "reference energies of C, O one by one (rank 2 of 3)" in found.notes[0]


def test_given_reference_energies_are_taken_as_they_are() -> None:
    frames = [frame("H2O", 0.2), frame("CH4", -0.2)]
    found = Statistics.from_graphs(frames, {"H": -13.6, "C": -1030.0, 8: -2040.0, "Fe": -1.0})
    assert found.reference == ATOM
    assert found.scale == pytest.approx(0.2)
    assert found.notes == []


def test_a_given_reference_that_lacks_an_element() -> None:
    with pytest.raises(InputError, match="no reference energy is given for C, O; given: H"):
        Statistics.from_graphs([frame("CO2"), frame("H2")], {"H": -13.6})


def test_a_given_reference_with_a_symbol_that_is_none() -> None:
    with pytest.raises(InputError, match="'h' is no element symbol; did you mean 'H'"):
        Statistics.from_graphs([frame("H2")], {"h": -13.6})


def test_unknown_word_for_the_reference() -> None:
    with pytest.raises(InputError, match="unknown reference 'fitt'; did you mean 'fit'"):
        Statistics.from_graphs([frame("H2")], "fitt")


def test_scale_is_the_root_mean_square_of_force_components() -> None:
    frames = [frame("H2", forces=3.0), frame("CO2", forces=-1.0), frame("CO2", 9.0)]
    squares = [9.0] * 6 + [1.0] * 9
    assert Statistics.from_graphs(frames).scale == pytest.approx(np.sqrt(np.mean(squares)))


def test_forces_of_each_element() -> None:
    carbonic = frame("CO2", forces=2.0)
    turned = replace(carbonic, forces=carbonic.forces * (carbonic.atomic_numbers == 8)[:, None])
    found = Statistics.from_graphs([frame("CO2", forces=1.0), turned, frame("H2")])
    assert found.forces_rms == pytest.approx({6: np.sqrt(1 / 2), 8: np.sqrt(5 / 2)})


def test_forces_of_zero_give_a_scale_of_one() -> None:
    found = Statistics.from_graphs([frame("H2", forces=0.0)])
    assert found.scale == 1.0
    assert found.notes[-1] == "forces or energies do not vary: the scale is 1"


def test_without_labels_everything_is_neutral_and_said() -> None:
    found = Statistics.from_graphs([frame("CO2").without_labels()])
    assert found.reference == {6: 0.0, 8: 0.0}
    assert found.scale == 1.0
    assert [note.split(":")[0] for note in found.notes] == [
        "no frame has an energy",
        "no frame has forces or an energy",
    ]


def test_frames_without_energy_do_not_count_for_the_reference() -> None:
    bare = replace(frame("CH4"), energy=None)
    found = Statistics.from_graphs([frame("H2"), bare])
    assert found.elements == (1, 6)
    assert found.reference == pytest.approx({1: ATOM[1], 6: ATOM[1]})
    assert "reference energies of C one by one" in found.notes[0]


def test_neighbors_are_averaged_over_atoms() -> None:
    copper = graph_from_atoms(bulk("Cu", "fcc", a=3.6), 3.0)  # 12 nearest neighbors
    pair = graph_from_atoms(Atoms("Cu3", [[0, 0, 0], [1, 0, 0], [9, 0, 0]]), 3.0)
    assert Statistics.from_graphs([copper, pair]).mean_neighbors == pytest.approx(14 / 4)
    alone = graph_from_atoms(Atoms("Cu"), 3.0)
    assert Statistics.from_graphs([alone]).mean_neighbors == 0.0


def test_no_frames() -> None:
    with pytest.raises(InputError, match="no frames"):
        Statistics.from_graphs([])
