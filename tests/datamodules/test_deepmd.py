"""DeePMD-kit's systems against the structures that they were written from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

import tiny
from hermnet.datamodules.deepmd import DeePMD
from hermnet.errors import InputError

FRAMES = [tiny.alloy(seed) for seed in range(4)]  # Au Cu Cu Cu
LABELS = ["energy", "forces", "stress"]


def write_system(folder: Path, frames: list[Atoms], type_map: str | None = "Cu Au") -> Path:
    """As DeePMD-kit's manual lays a system out, in two sets."""
    folder.mkdir(parents=True)
    types = [0 if name == "Cu" else 1 for name in frames[0].get_chemical_symbols()]
    np.savetxt(folder / "type.raw", types, fmt="%d")
    if type_map is not None:
        (folder / "type_map.raw").write_text(type_map)
    for index, part in enumerate((frames[:1], frames[1:])):
        inner = folder / f"set.{index:03d}"
        inner.mkdir()
        arrays = {
            "coord": [atoms.positions.ravel() for atoms in part],
            "box": [atoms.cell.array.ravel() for atoms in part],
            "energy": [atoms.get_potential_energy() for atoms in part],
            "force": [atoms.get_forces().ravel() for atoms in part],
            "virial": [
                -atoms.get_volume() * atoms.get_stress(voigt=False).ravel() for atoms in part
            ],
        }
        for name, values in arrays.items():
            np.save(inner / f"{name}.npy", np.array(values))
    return folder


def write_mixed(folder: Path, frames: list[Atoms]) -> Path:
    """The same with the types of every frame in a file of their own."""
    write_system(folder, frames)
    np.savetxt(folder / "type.raw", np.zeros(len(frames[0])), fmt="%d")
    for index, part in enumerate((frames[:1], frames[1:])):
        types = [[0 if z == 29 else 1 for z in atoms.numbers] for atoms in part]
        np.save(folder / f"set.{index:03d}" / "real_atom_types.npy", np.array(types))
    return folder


def test_a_system_comes_back_as_it_was_written(tmp_path: Path):
    write_system(tmp_path / "a", FRAMES)
    graphs = DeePMD(train=str(tmp_path / "a"), labels=LABELS).read()["train"]
    assert len(graphs) == len(FRAMES)
    for atoms, graph in zip(FRAMES, graphs, strict=True):
        np.testing.assert_array_equal(graph.atomic_numbers, atoms.numbers)
        np.testing.assert_allclose(graph.positions, atoms.positions)
        np.testing.assert_allclose(graph.cell[0], atoms.cell.array)
        np.testing.assert_allclose(graph.energy, atoms.get_potential_energy())
        np.testing.assert_allclose(graph.forces, atoms.get_forces(), atol=1e-12)
        np.testing.assert_allclose(graph.stress[0], atoms.get_stress(voigt=False), atol=1e-12)
        assert graph.pbc.all()


def test_a_folder_of_systems_and_no_boundary(tmp_path: Path):
    for name in ("a", "deep/b"):
        write_system(tmp_path / name, FRAMES[:2])
    (tmp_path / "deep" / "b" / "nopbc").touch()
    graphs = DeePMD(train=str(tmp_path)).read()["train"]
    assert [bool(graph.pbc.any()) for graph in graphs] == [True, True, False, False]


def test_systems_of_mixed_type(tmp_path: Path):
    other = FRAMES[1].copy()
    other.calc = FRAMES[1].calc
    other.numbers = other.numbers[::-1]
    frames = [FRAMES[0], FRAMES[2], FRAMES[3]]
    write_mixed(tmp_path / "a", frames)
    graphs = DeePMD(train=str(tmp_path / "a"), labels=LABELS).read()["train"]
    found = sorted(float(graph.energy) for graph in graphs)
    np.testing.assert_allclose(found, sorted(atoms.get_potential_energy() for atoms in frames))
    for graph in graphs:
        assert sorted(graph.atomic_numbers.tolist()) == [29, 29, 29, 79]


def test_what_a_type_is_can_be_given(tmp_path: Path):
    write_system(tmp_path / "a", FRAMES, type_map=None)
    with pytest.raises(InputError, match=r"a has no type_map.raw; give data.type_map"):
        DeePMD(train=str(tmp_path / "a")).read()
    data = DeePMD(train=str(tmp_path / "a"), type_map=["Cu", "Au"])
    np.testing.assert_array_equal(data.read()["train"][0].atomic_numbers, FRAMES[0].numbers)


def test_folders_that_cannot_be_used(tmp_path: Path):
    def refused(path: Path, message: str, **options) -> None:
        with pytest.raises(InputError, match=message):
            DeePMD(train=str(path), **options).read()

    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", r"holds no system of DeePMD-kit: there is no type.raw in it")
    short = write_system(tmp_path / "short", FRAMES, type_map="Cu")
    refused(short, r"type.raw has type 1, but the type map has 1 elements \(Cu\)")
    odd = write_system(tmp_path / "odd", FRAMES, type_map="Cu Gx")
    refused(odd, "'Gx' is no element symbol")
    bare = write_system(tmp_path / "bare", FRAMES)
    for file in bare.glob("set.*/force.npy"):
        file.unlink()
    refused(bare, "frame 0: no forces 'forces'")
    torn = write_system(tmp_path / "torn", FRAMES)
    np.save(torn / "set.001" / "coord.npy", np.zeros((3, 7)))
    refused(torn, "dpdata cannot read .*torn as deepmd/npy")
    pickled = write_system(tmp_path / "pickled", FRAMES)
    np.save(pickled / "set.000" / "energy.npy", np.array([{}], dtype=object), allow_pickle=True)
    refused(pickled, "dpdata cannot read .*: Object arrays cannot be loaded")
    words = write_system(tmp_path / "words", FRAMES)
    (words / "type.raw").write_text("Cu Au")
    refused(words, r"type.raw is not one type per atom")
    refused(Path(f"{bare}::3"), "a system has no parts")
