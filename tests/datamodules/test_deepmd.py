"""DeePMD systems against the structures they were made of, and against dpdata."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import dpdata
import numpy as np
import pytest
from ase import Atoms

import tiny
from hermnet.data.frames import Frame
from hermnet.datamodule import DATAMODULES
from hermnet.datamodules.deepmd import DeePMD
from hermnet.errors import InputError

FRAMES = [tiny.alloy(seed) for seed in range(5)]  # Au Cu Cu Cu
LABELS = ["energy", "forces", "stress"]


def arrays(frames: list[Atoms]) -> dict[str, np.ndarray]:
    """As DeePMD-kit writes them, with the virial in eV."""
    stress = np.stack([atoms.get_stress(voigt=False) for atoms in frames])
    volume = np.array([atoms.get_volume() for atoms in frames])
    return {
        "coord": np.stack([atoms.positions.ravel() for atoms in frames]),
        "box": np.stack([atoms.cell.array.ravel() for atoms in frames]),
        "energy": np.array([atoms.get_potential_energy() for atoms in frames]),
        "force": np.stack([atoms.get_forces().ravel() for atoms in frames]),
        "virial": (-stress * volume[:, None, None]).reshape(-1, 9),
    }


def write(system: Path, content: dict[str, np.ndarray], number: int = 0) -> None:
    folder = system / f"set.{number:03d}"
    folder.mkdir(parents=True)
    for name, array in content.items():
        np.save(folder / f"{name}.npy", array)


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """Two sets of three and two frames."""
    path = tmp_path / "alloy"
    write(path, arrays(FRAMES[:3]), 0)
    write(path, arrays(FRAMES[3:]), 1)
    (path / "type.raw").write_text("1\n0\n0\n0\n")
    (path / "type_map.raw").write_text("Cu\nAu\n")
    return path


def change(system: Path, name: str, array: Any) -> None:
    np.save(system / "set.000" / f"{name}.npy", array)


def frames(path: Path, part: str = "", **options: Any) -> list[Frame]:
    found = DeePMD(train=str(path), **options).open(path, part)
    return [found[index] for index in range(len(found))]


def test_labels_come_back_as_they_were(system: Path):
    graphs = DeePMD(train=str(system), labels=LABELS).read()["train"]
    assert len(graphs) == 5
    for atoms, graph in zip(FRAMES, graphs, strict=True):
        assert graph.atomic_numbers.tolist() == [79, 29, 29, 29]
        assert graph.pbc.all()
        np.testing.assert_allclose(graph.positions, atoms.positions, atol=1e-12)
        np.testing.assert_allclose(graph.cell[0], atoms.cell.array, atol=1e-12)
        np.testing.assert_allclose(graph.energy, [atoms.get_potential_energy()], atol=1e-12)
        np.testing.assert_allclose(graph.forces, atoms.get_forces(), atol=1e-12)
        np.testing.assert_allclose(graph.stress[0], atoms.get_stress(voigt=False), atol=1e-12)


def test_dpdata_reads_the_same(system: Path):
    other = dpdata.LabeledSystem(str(system), fmt="deepmd/npy")
    found = frames(system)
    assert len(other) == len(found) == 5
    for index, frame in enumerate(found):
        np.testing.assert_array_equal(frame.positions, other["coords"][index])
        np.testing.assert_array_equal(frame.cell, other["cells"][index])
        np.testing.assert_array_equal(frame.values["force"], other["forces"][index])
        np.testing.assert_array_equal(frame.values["virial"], other["virials"][index].ravel())
        assert frame.values["energy"] == other["energies"][index]


def test_what_dpdata_writes_in_the_mixed_layout(tmp_path: Path):
    systems = []
    for atoms in (FRAMES[0], FRAMES[1][1:], FRAMES[2]):  # with three atoms, one is padding
        content = {
            "atom_names": ["Cu", "Au"],
            "atom_numbs": [int((atoms.numbers == z).sum()) for z in (29, 79)],
            "atom_types": (atoms.numbers == 79).astype(int),
            "orig": np.zeros(3),
            "cells": atoms.cell.array[None],
            "coords": atoms.positions[None],
            "energies": np.array([float(len(atoms))]),
            "forces": np.arange(3.0 * len(atoms)).reshape(1, -1, 3),
        }
        systems.append(dpdata.LabeledSystem(data=content))
    mixed = dpdata.MultiSystems(*systems, type_map=["Cu", "Au"])
    mixed.to("deepmd/npy/mixed", str(tmp_path), atom_numb_pad=4, prec=np.float64)
    found = frames(tmp_path)
    by_size = {len(frame.numbers): frame for frame in found}
    assert sorted(len(frame.numbers) for frame in found) == [3, 4, 4]
    three = by_size[3]
    assert three.numbers.tolist() == [29, 29, 29]
    np.testing.assert_allclose(three.positions, FRAMES[1].positions[1:], atol=1e-12)
    np.testing.assert_array_equal(three.values["force"], np.arange(9.0).reshape(3, 3))
    assert sorted(by_size[4].numbers) == [29, 29, 29, 79]
    graphs = DeePMD(train=str(tmp_path)).read()["train"]
    assert sorted(float(graph.energy) for graph in graphs) == [3, 4, 4]


def test_a_folder_of_systems_and_a_slice(system: Path, tmp_path: Path):
    other = tmp_path / "deep" / "er"
    write(other, arrays(FRAMES[:1]))
    (other / "type.raw").write_text("0 1 1 1")
    (other / "type_map.raw").write_text("Au Cu")
    assert len(frames(tmp_path)) == 6
    assert [frame.name for frame in frames(system, "1:4:2")] == [
        f"{system}, frame 1",
        f"{system}, frame 3",
    ]
    splits = DeePMD(train=str(tmp_path), n_val=1, group_key="system").read()
    assert {name: len(graphs) for name, graphs in splits.items()} in (
        {"train": 5, "val": 1},
        {"train": 1, "val": 5},
    )


def test_molecules_have_no_cell(system: Path):
    (system / "nopbc").touch()
    (frame, *_) = frames(system)
    assert not frame.pbc.any()
    assert not frame.cell.any()


def test_the_option_type_map_goes_before_the_file(system: Path):
    (system / "type_map.raw").write_text("A B")
    with pytest.raises(InputError, match=r"type_map.raw: 'A' is no element symbol.*give type_map"):
        frames(system)
    assert frames(system, type_map=["Ni", "Pt"])[0].numbers.tolist() == [78, 28, 28, 28]


def test_no_type_map_says_what_to_give(system: Path):
    (system / "type_map.raw").unlink()
    with pytest.raises(InputError, match=r"no type_map.raw: give .* types 0 to 1 .* type_map: \["):
        frames(system)
    with pytest.raises(InputError, match="has type 1, the type_map only 0 to 0"):
        frames(system, type_map=["Cu"])
    with pytest.raises(InputError, match="'Xy' is no element symbol"):
        DeePMD(train=str(system), type_map=["Xy"])


def test_missing_forces_are_named(system: Path):
    (system / "set.001" / "force.npy").unlink()
    with pytest.raises(InputError, match=r"set.001 lacks force.npy, which set.000 has"):
        DeePMD(train=str(system)).read()
    (system / "set.000" / "force.npy").unlink()
    with pytest.raises(InputError, match=r"frame 0: no forces 'force'; \(known: energy, system, v"):
        DeePMD(train=str(system)).read()
    assert len(DeePMD(train=str(system), labels=["energy"]).read()["train"]) == 5


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("coord", np.zeros((3, 9)), "coord.npy has 9 numbers per frame; the 4 atoms .* need 12"),
        ("box", np.zeros((3, 3)), "box.npy has 3 numbers per frame; a cell needs 9"),
        ("coord", np.full((3, 12), "a"), "coord.npy does not hold numbers"),
        (
            "force",
            np.zeros((3, 6)),
            "force.npy has other numbers per frame: 6 in set.000 and 12",
        ),
        ("energy", np.zeros(2), "energy.npy has 2 rows, coord.npy 3, one per frame"),
        ("energy", np.float64(1.0), "is no array with a row for each frame"),
        ("energy", np.array([1, {}, 2], dtype=object), "cannot read .*allow_pickle=False"),
    ],
)
def test_arrays_that_do_not_fit(system: Path, name: str, array: Any, message: str):
    change(system, name, array)
    with pytest.raises(InputError, match=message):
        frames(system)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"force": np.zeros((5, 6))}, r"frame 0: forces 'force' has shape \(6,\), not \(4, 3\)"),
        ({"energy": np.full(5, np.nan)}, "frame 0: energy 'energy' has NaN"),
    ],
)
def test_labels_that_cannot_be_used(tmp_path: Path, content: dict[str, Any], message: str):
    write(tmp_path, arrays(FRAMES) | content)
    (tmp_path / "type.raw").write_text("0 0 0 0")
    with pytest.raises(InputError, match=message):
        DeePMD(train=str(tmp_path), type_map=["Cu"]).read()


def test_a_cell_without_volume(system: Path):
    change(system, "box", np.zeros((3, 9)))
    with pytest.raises(InputError, match="frame 0: a virial, but no cell with a volume"):
        DeePMD(train=str(system), labels=LABELS).read()
    data = DeePMD(train=str(system))
    data.set_cutoff(3.0)
    with pytest.raises(InputError, match=r"train frame 0: .*lattice vectors .* zero or dependent"):
        data.setup("fit")


class Bomb:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_is_not_opened(system: Path, tmp_path: Path):
    mark = tmp_path / "exploded"
    (system / "set.000" / "energy.npy").write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(InputError, match=r"cannot read .*energy.npy: .*pickled"):
        frames(system)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: (s / "set.000/box.npy").unlink() or (s / "set.001/box.npy").unlink(), "nopbc"),
        (lambda s: (s / "type.raw").write_text("a b"), "type.raw is no list of integers"),
        (lambda s: (s / "type.raw").write_bytes(b"\xff\xfe"), "cannot read .*type.raw"),
        (lambda s: [f.rename(f.with_name("old" + f.name)) for f in s.glob("set.*")], "no set.000"),
    ],
)
def test_damaged_systems(system: Path, spoil: Any, message: str):
    spoil(system)
    with pytest.raises(InputError, match=message):
        frames(system)


def test_unreadable_array(system: Path):
    path = system / "set.000" / "energy.npy"
    path.unlink()
    path.mkdir()
    with pytest.raises(InputError, match=r"cannot read .*energy.npy: .*[Ii]s a directory"):
        frames(system)


def test_folders_without_systems(tmp_path: Path):
    with pytest.raises(InputError, match=r"no DeePMD system \(a folder with type.raw\).*nothing"):
        DeePMD(train=str(tmp_path)).read()
    (tmp_path / "coord.npy").touch()
    with pytest.raises(InputError, match="is a file; a DeePMD system is a folder"):
        DeePMD(train=str(tmp_path / "coord.npy")).read()


def test_a_slice_beyond_the_end(system: Path):
    with pytest.raises(InputError, match="alloy holds no frames in 9:: it has 5"):
        DeePMD(train=f"{system}::9:").read()
    with pytest.raises(InputError, match="'first' is no slice of frames"):
        DeePMD(train=f"{system}::first").read()


def test_the_name_in_recipes():
    assert DATAMODULES.get("deepmd") is DeePMD


def test_the_files_and_the_types_tell_whether_facts_are_still_true(system: Path):
    def known(part: str = "", **options: Any) -> str | None:
        return DeePMD(train=str(system), **options).open(system, part).fingerprint()

    before = known()
    assert before is not None
    assert known() == before
    assert len({before, known("0:2"), known(type_map=["Au", "Cu"])}) == 3
    change(system, "energy", np.zeros(3))
    assert known() != before
