from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from hermnet.datamodule import DATAMODULES
from hermnet.datamodules.extxyz import ExtXYZ
from hermnet.errors import InputError

VOIGT = np.array([0.11, 0.22, 0.33, 0.23, 0.13, 0.12])  # xx yy zz yz xz xy
STRESS = np.array([[0.11, 0.12, 0.13], [0.12, 0.22, 0.23], [0.13, 0.23, 0.33]])


def crystals(n_frames: int, **results: Any) -> list[Atoms]:
    """Salt whose energy is the frame's index, with forces and a stress."""
    frames = []
    for index in range(n_frames):
        atoms = bulk("NaCl", "rocksalt", a=5.6)
        atoms.rattle(0.05, seed=index)
        forces = np.random.default_rng(index).normal(size=(2, 3))
        labels = {"energy": float(index), "forces": forces, "stress": VOIGT} | results
        atoms.calc = SinglePointCalculator(
            atoms, **{name: values for name, values in labels.items() if values is not None}
        )
        frames.append(atoms)
    return frames


def energies(graphs: list) -> list[float]:
    return [float(graph.energy) for graph in graphs]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["data.xyz", "data.extxyz", "data.traj", "data.json"])
def test_labels_come_back_as_they_were_written(folder: Path, name: str) -> None:
    frames = crystals(3)
    write(name, frames)
    graphs = ExtXYZ(train=name, labels=["energy", "forces", "stress"]).read()["train"]
    assert energies(graphs) == [0.0, 1.0, 2.0]
    for atoms, graph in zip(frames, graphs, strict=True):
        np.testing.assert_allclose(graph.positions, atoms.positions, atol=1e-7)
        np.testing.assert_allclose(graph.cell[0], atoms.cell.array, atol=1e-7)
        np.testing.assert_allclose(graph.forces, atoms.calc.results["forces"], atol=1e-7)
        np.testing.assert_allclose(graph.stress[0], STRESS, atol=1e-7)
        assert graph.pbc.all()
        assert graph.forces.dtype == graph.stress.dtype == torch.float64
        assert graph.n_edges == 0


def test_only_the_labels_asked_for_are_read(folder: Path) -> None:
    write("data.xyz", crystals(1))
    (graph,) = ExtXYZ(train="data.xyz", labels=["energy"]).read()["train"]
    assert graph.energy is not None
    assert graph.forces is None
    assert graph.stress is None
    (graph,) = ExtXYZ(train="data.xyz").read()["train"]
    assert graph.forces is not None
    assert graph.stress is None
    (graph,) = ExtXYZ(train="data.xyz", labels=[]).read()["train"]
    assert graph.energy is None


@pytest.mark.parametrize("stress", [VOIGT, STRESS, STRESS.reshape(9)])
def test_keys_of_other_names_and_both_forms_of_stress(folder: Path, stress: np.ndarray) -> None:
    (atoms,) = crystals(1)
    forces = atoms.calc.results["forces"]
    atoms.calc = None
    atoms.info |= {"dft_energy": -3.5, "dft_stress": stress}
    atoms.arrays["dft_forces"] = forces
    write("data.xyz", atoms)
    data = ExtXYZ(
        train="data.xyz",
        labels=["energy", "forces", "stress"],
        keys={"energy": "dft_energy", "forces": "dft_forces", "stress": "dft_stress"},
    )
    (graph,) = data.read()["train"]
    assert float(graph.energy) == -3.5
    np.testing.assert_allclose(graph.forces, forces, atol=1e-7)
    np.testing.assert_allclose(graph.stress[0], STRESS, atol=1e-7)


def test_a_calculator_result_goes_before_other_values_of_the_name(folder: Path) -> None:
    (atoms,) = crystals(1)
    atoms.info["energy"] = 99.0
    write("data.traj", atoms)
    assert energies(ExtXYZ(train="data.traj").read()["train"]) == [0.0]


def test_patterns_are_read_in_the_order_of_names(folder: Path) -> None:
    frames = crystals(5)
    for name, part in {"b.xyz": frames[:2], "a.xyz": frames[2:4], "c.xyz": frames[4:]}.items():
        write(name, part)
    data = ExtXYZ(train="[ab].xyz", val="c.xyz", test=str(folder / "c*.xyz"))
    splits = data.read()
    assert {split: energies(graphs) for split, graphs in splits.items()} == {
        "train": [2.0, 3.0, 0.0, 1.0],
        "val": [4.0],
        "test": [4.0],
    }


def test_validation_frames_are_carved_by_the_seed(folder: Path) -> None:
    write("data.xyz", crystals(10))

    def read(seed: int) -> tuple[list[float], list[float]]:
        splits = ExtXYZ(train="data.xyz", n_val=3, seed=seed).read()
        return energies(splits["train"]), energies(splits["val"])

    train, val = read(0)
    assert (len(train), len(val)) == (7, 3)
    assert sorted(train + val) == list(range(10))
    assert read(0) == (train, val)
    assert read(1) != (train, val)


def test_through_setup_to_a_batch(folder: Path) -> None:
    write("data.xyz", crystals(3))
    data = DATAMODULES.get("extxyz")(
        train="data.xyz", labels=["energy", "forces", "stress"], batch_size=3
    )
    data.set_cutoff(3.0)
    data.setup("fit")
    (batch,) = data.train_dataloader()
    assert batch.n_systems == 3
    assert batch.n_edges == 3 * 2 * 6
    assert batch.stress.shape == (3, 3, 3)
    assert data.label_names("train") == {"energy", "forces", "stress"}


def test_a_molecule_in_a_box_stays_a_molecule(folder: Path) -> None:
    atoms = Atoms("H2", [[0.1, 0, 0], [9.9, 0, 0]], cell=[10, 10, 10], pbc=False)
    atoms.calc = SinglePointCalculator(atoms, energy=1.0, forces=np.zeros((2, 3)))
    write("data.xyz", atoms)
    data = ExtXYZ(train="data.xyz")
    data.set_cutoff(2.0)
    with pytest.warns(UserWarning, match="2 of 2 atoms have no neighbor"):
        data.setup("fit")


def test_missing_key_lists_those_that_the_frame_has(folder: Path) -> None:
    (first, second) = crystals(2)
    for atoms in (first, second):
        atoms.info["config"] = "bulk"
        atoms.arrays["charges"] = np.zeros(2)
    first.info["REF_energy"] = 1.0
    write("data.xyz", [first, second])
    with pytest.raises(InputError, match=r"data.xyz, frame 1: no energy 'REF_energy'") as caught:
        ExtXYZ(train="data.xyz", keys={"energy": "REF_energy"}).read()
    message = str(caught.value)
    assert "did you mean 'energy'?" in message
    assert "(known: charges, config, energy, forces, stress)" in message


def test_frame_without_any_label(folder: Path) -> None:
    write("data.xyz", Atoms("H2", np.eye(3)[:2]))
    with pytest.raises(InputError, match=r"frame 0: no energy 'energy'; \(known: none\)"):
        ExtXYZ(train="data.xyz").read()


@pytest.mark.parametrize(
    ("info", "options", "message"),
    [
        ({"e": "low"}, {"keys": {"energy": "e"}}, "energy 'e' is not numbers"),
        ({"e": [1.0, 2.0]}, {"keys": {"energy": "e"}}, r"energy 'e' has shape \(2,\), not \(1,\)"),
        (
            {"f": [1.0, 2.0]},
            {"keys": {"forces": "f"}},
            r"forces 'f' has shape \(2,\), not \(2, 3\)",
        ),
        (
            {"s": [1.0, 2.0]},
            {"keys": {"stress": "s"}, "labels": ["stress"]},
            "the stress has 2 numbers, not six or nine",
        ),
    ],
)
def test_labels_that_are_something_else(
    folder: Path, info: dict[str, Any], options: dict[str, str], message: str
) -> None:
    (atoms,) = crystals(1)
    atoms.info |= info
    write("data.xyz", atoms)
    with pytest.raises(InputError, match=f"data.xyz, frame 0: {message}"):
        ExtXYZ(train="data.xyz", **options).read()


def test_missing_file_names_the_nearest(folder: Path) -> None:
    write("water.xyz", crystals(1))
    with pytest.raises(InputError, match=r"val: no file 'watr.xyz' in .*did you mean 'water.xyz'"):
        ExtXYZ(train="water.xyz", val="watr.xyz").read()


def test_pattern_that_matches_nothing(folder: Path) -> None:
    with pytest.raises(InputError, match=r"train: no file '\*.xyz' in .*known: none"):
        ExtXYZ(train="*.xyz").read()


def test_missing_folder(folder: Path) -> None:
    with pytest.raises(InputError, match=r"train: no file 'a/b.xyz': there is no folder a"):
        ExtXYZ(train="a/b.xyz").read()


@pytest.mark.parametrize(
    ("name", "text"), [("broken.xyz", "2\n\nH 0 0 0\n"), ("noise.dat", "what is this?\n")]
)
def test_file_that_ase_cannot_read(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    with pytest.raises(InputError, match=f"ASE cannot read {name}: "):
        ExtXYZ(train=name).read()


def test_empty_file(folder: Path) -> None:
    (folder / "empty.xyz").touch()
    with pytest.raises(InputError, match=r"empty.xyz: .*[Ee]mpty"):
        ExtXYZ(train="empty.xyz").read()


def test_dummy_atoms_are_named(folder: Path) -> None:
    write("data.xyz", [*crystals(1), Atoms("X")])
    with pytest.raises(InputError, match=r"data.xyz, frame 1: there is no element number 0"):
        ExtXYZ(train="data.xyz").read()


def test_not_a_number_in_a_label(folder: Path) -> None:
    write("data.xyz", [*crystals(1), *crystals(1, energy=float("nan"))])
    with pytest.raises(InputError, match="frame 1: energy 'energy' has NaN or infinity"):
        ExtXYZ(train="data.xyz").read()


def test_more_validation_frames_than_frames(folder: Path) -> None:
    write("data.xyz", crystals(3))
    with pytest.raises(InputError, match=r"val 3 leaves nothing to train on: .* 3 frames"):
        ExtXYZ(train="data.xyz", n_val=3).read()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": ["energy", "force"]}, "labels: unknown 'force'; did you mean 'forces'"),
        ({"val": "v.xyz", "n_val": 2}, r"give val \('v.xyz'\) or n_val \(2\), not both"),
        ({"n_val": -1}, "n_val must be a number of frames or a fraction, not -1"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ExtXYZ(train="t.xyz", **options)
