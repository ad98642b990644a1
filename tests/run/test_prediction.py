from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress

import structures
from hermnet.checks import random_potential
from hermnet.errors import InputError
from hermnet.graph import collate
from hermnet.model_options import ModelOptions
from hermnet.neighbors import graph_from_atoms
from hermnet.potential import Potential, Prediction
from hermnet.run.prediction import batches, predict_batches, to_atoms, write_extxyz

OPTIONS = ModelOptions(
    relations="pair", n_channels=4, n_layers=1, n_radial=4, cutoff=3.0, dtype="float64"
)
FRAMES = [structures.crystal(0), structures.molecule(), structures.mixture(), structures.crystal(1)]
ELEMENTS = tuple(sorted({int(z) for atoms in FRAMES for z in atoms.numbers}))


@pytest.fixture(scope="module")
def potential() -> Potential:
    return random_potential(OPTIONS, ELEMENTS)


def predicted(potential: Potential, size: int) -> list[Atoms]:
    graphs = [graph_from_atoms(atoms, OPTIONS.cutoff) for atoms in FRAMES]
    pairs = predict_batches(potential, batches(graphs, size), stress=True)
    return [atoms for graph, prediction in pairs for atoms in to_atoms(graph, prediction)]


def test_structures_come_back_as_they_were(potential: Potential):
    for found, atoms in zip(predicted(potential, 3), FRAMES, strict=True):
        assert found.numbers.tolist() == atoms.numbers.tolist()
        assert np.array_equal(found.positions, atoms.positions)
        assert np.array_equal(found.cell.array, atoms.cell.array)
        assert found.pbc.tolist() == atoms.pbc.tolist()


@pytest.mark.parametrize("size", [1, 3, 10])
def test_a_frame_has_its_own_numbers_in_any_batch(potential: Potential, size: int):
    for found, atoms in zip(predicted(potential, size), FRAMES, strict=True):
        alone = potential(graph_from_atoms(atoms, OPTIONS.cutoff))
        assert found.get_potential_energy() == pytest.approx(alone.energy.item(), rel=1e-12)
        assert found.get_potential_energies().sum() == pytest.approx(alone.energy.item(), rel=1e-12)
        np.testing.assert_allclose(found.get_forces(), alone.forces.detach(), atol=1e-10)


def test_no_gradients_are_kept(potential: Potential):
    graph = collate([graph_from_atoms(FRAMES[0], OPTIONS.cutoff)])
    ((_, prediction),) = predict_batches(potential.train(), [graph], stress=True)
    assert not potential.training
    assert not prediction.energy.requires_grad
    assert not prediction.stress.requires_grad


def test_stress_has_the_order_and_sign_of_ase(potential: Potential):
    """ASE's stress is (1/V) dE/dstrain: strain the cell and look at the energy."""
    atoms = FRAMES[0]
    (found,) = to_atoms(*next(predict_batches(potential, [graph_of(atoms)], stress=True)))
    step, expected = 1e-5, np.zeros((3, 3))
    for a in range(3):
        for b in range(3):
            energies = []
            for sign in (1, -1):
                strain = np.eye(3)
                strain[a, b] += sign * step / 2
                strain[b, a] += sign * step / 2
                strained = atoms.copy()
                strained.set_cell(atoms.cell @ strain, scale_atoms=True)
                energies.append(potential(graph_of(strained)).energy.item())
            expected[a, b] = (energies[0] - energies[1]) / (2 * step) / atoms.get_volume()
    voigt = full_3x3_to_voigt_6_stress(expected)
    assert len(set(np.round(voigt, 6))) == 6, "all six components differ"
    np.testing.assert_allclose(found.get_stress(), voigt, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(found.get_stress(voigt=False), expected, rtol=1e-5, atol=1e-8)


def graph_of(atoms: Atoms):
    return graph_from_atoms(atoms, OPTIONS.cutoff)


def test_a_molecule_has_no_stress(potential: Potential):
    found = predicted(potential, 10)
    assert ["stress" in atoms.calc.results for atoms in found] == [True, False, False, True]


def test_without_forces(potential: Potential):
    graph = graph_of(FRAMES[1])
    with torch.no_grad():
        prediction = potential(graph, forces=False)
    (atoms,) = to_atoms(graph, prediction)
    assert set(atoms.calc.results) == {"energy", "energies"}


def test_extended_xyz_read_by_ase(potential: Potential, tmp_path: Path):
    path = tmp_path / "new" / "folder" / "out.xyz"
    expected = predicted(potential, 3)
    assert write_extxyz(path, iter(expected)) == 4
    found = ase.io.read(path, ":")
    assert len(found) == 4
    for one, other in zip(found, expected, strict=True):
        assert one.numbers.tolist() == other.numbers.tolist()
        assert one.pbc.tolist() == other.pbc.tolist()
        np.testing.assert_allclose(one.positions, other.positions, atol=1e-7)
        np.testing.assert_allclose(one.cell, other.cell, atol=1e-7)
        assert one.get_potential_energy() == pytest.approx(other.get_potential_energy(), abs=1e-8)
        np.testing.assert_allclose(one.get_forces(), other.get_forces(), atol=1e-7)
        assert ("stress" in one.calc.results) == ("stress" in other.calc.results)
        if "stress" in one.calc.results:
            np.testing.assert_allclose(one.get_stress(), other.get_stress(), atol=1e-8)
    assert [p.name for p in path.parent.iterdir()] == ["out.xyz"]


def failing(frames: list[Atoms]) -> Iterator[Atoms]:
    yield frames[0]
    raise InputError("an element that the potential does not know")


def test_a_file_appears_whole_or_not_at_all(potential: Potential, tmp_path: Path):
    frames = predicted(potential, 3)
    with pytest.raises(InputError, match="an element"):
        write_extxyz(tmp_path / "out.xyz", failing(frames))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "out.xyz").write_text("of yesterday")
    with pytest.raises(InputError, match="an element"):
        write_extxyz(tmp_path / "out.xyz", failing(frames))
    assert (tmp_path / "out.xyz").read_text() == "of yesterday"
    assert write_extxyz(tmp_path / "out.xyz", frames) == 4
    assert len(ase.io.read(tmp_path / "out.xyz", ":")) == 4


def test_where_no_file_can_be_written(tmp_path: Path):
    with pytest.raises(InputError, match=r"cannot write .*: it is a folder"):
        write_extxyz(tmp_path, [])
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        write_extxyz(tmp_path / "file" / "out.xyz", [])


def test_prediction_of_a_float32_potential_is_written_in_float64():
    graph = graph_of(FRAMES[0])
    short = Potential(ModelOptions(n_channels=4, n_layers=1, cutoff=3.0), ELEMENTS, 8.0)
    with torch.no_grad():
        prediction: Prediction = short(graph, stress=True)
    (atoms,) = to_atoms(graph, prediction)
    assert prediction.forces.dtype == torch.float32
    assert atoms.get_forces().dtype == atoms.get_stress().dtype == np.float64
