"""Trajectories in the layout of sGDML: MD17 and MD22."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hermnet.datamodule import DATAMODULES
from hermnet.datamodules.md17 import MD17
from hermnet.datamodules.md22 import MD22
from hermnet.errors import InputError

KCAL = 0.0433641153
FEW = {"n_train": 12, "n_val": 3, "n_test": 5}


def arrays(n_frames: int = 30) -> dict[str, Any]:
    """Water whose energy is the frame's index in kcal/mol, as the published files have it."""
    rng = np.random.default_rng(0)
    water = np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    return {
        "z": np.array([8, 1, 1], dtype=np.uint8),
        "R": water + 0.01 * rng.normal(size=(n_frames, 3, 3)),
        "E": np.arange(float(n_frames))[:, None],
        "F": rng.normal(size=(n_frames, 3, 3)),
        "name": np.array("water"),
        "type": np.array("d"),
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    np.savez(tmp_path / "md17_water.npz", **arrays())
    np.savez(tmp_path / "md22_water.npz", **arrays())
    return tmp_path


def indices(graphs: Any) -> list[int]:
    return [round(float(graph.energy) / KCAL) for graph in graphs]


@pytest.mark.parametrize("module", [MD17, MD22])
def test_frames_are_read_in_ev(root: Path, module: type):
    splits = module(molecule="water", root=str(root), **FEW).read()
    assert {name: len(graphs) for name, graphs in splits.items()} == {
        "test": 5,
        "val": 3,
        "train": 12,
    }
    for graphs in splits.values():
        for graph, index in zip(graphs, indices(graphs), strict=True):
            assert graph.atomic_numbers.tolist() == [8, 1, 1]
            assert not graph.pbc.any()
            np.testing.assert_array_equal(graph.positions, arrays()["R"][index])
            np.testing.assert_allclose(graph.energy, index * KCAL, rtol=1e-14)
            np.testing.assert_allclose(graph.forces, arrays()["F"][index] * KCAL, rtol=1e-14)


def test_the_seed_decides_and_no_frame_is_in_two_splits(root: Path):
    def read(**options: int) -> dict[str, list[int]]:
        data = MD17(molecule="water", root=str(root), **{**FEW, **options})
        return {name: indices(graphs) for name, graphs in data.read().items()}

    first = read()
    everything = [index for part in first.values() for index in part]
    assert len(set(everything)) == len(everything) == 20
    assert read() == first
    assert read(seed=1) != first
    assert read(n_train=4, n_val=1)["test"] == first["test"]
    assert max(first["train"]) > 20  # not the beginning of the trajectory


def test_all_the_rest_for_the_test(root: Path):
    options = {"molecule": "water", "root": str(root), "n_train": 12, "n_val": 3}
    splits = MD17(n_test=None, **options).read()
    assert len(splits["test"]) == 15
    data = MD17(n_test=0, **options)
    assert len(data.read()["test"]) == 0
    assert data.split_indices()["test"] == []


def test_splits_of_an_earlier_run_are_used(root: Path):
    data = MD17(molecule="water", root=str(root), **FEW)
    data.use_split_indices({"train": [3, 1], "test": [29]})
    assert indices(data.read()["train"]) == [3, 1]
    data.use_split_indices({"train": [3], "test": [30]})
    with pytest.raises(InputError, match=r"name frame 30, but .*md17_water.npz holds 30"):
        data.read()


def test_through_setup_to_a_batch(root: Path):
    data = DATAMODULES.get("md22")(molecule="water", root=str(root), batch_size=4, **FEW)
    data.set_cutoff(3.0)
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert batch.n_systems == 4
    assert data.test_splits() == ("test",)


@pytest.mark.parametrize("name", ["water_dft.npz", "md17_water.npz"])
def test_names_of_files_and_of_arrays(tmp_path: Path, name: str):
    content = arrays() | {"nuclear_charges": arrays()["z"]}
    del content["z"]
    np.savez(tmp_path / name, **content)
    assert len(MD17(molecule="water", root=str(tmp_path), **FEW).read()["train"]) == 12


def test_units_that_the_file_names(root: Path):
    units = {"e_unit": "eV", "r_unit": "a0"}
    np.savez(root / "md17_water.npz", **arrays(), **units)
    graph = MD17(molecule="water", root=str(root), **FEW).read()["train"][0]
    index = round(float(graph.energy))
    np.testing.assert_allclose(graph.positions, arrays()["R"][index] * 0.529177, rtol=1e-6)
    np.testing.assert_allclose(graph.forces, arrays()["F"][index] / 0.529177, rtol=1e-6)
    np.savez(root / "md17_water.npz", **arrays(), e_unit="cal")
    with pytest.raises(InputError, match=r"units.energy: unknown unit 'cal'"):
        MD17(molecule="water", root=str(root), **FEW).read()


def test_what_was_looked_for_and_what_is_there(root: Path):
    np.savez(root / "toluene_dft.npz", **arrays())
    with pytest.raises(InputError, match="did you mean 'water'") as caught:
        MD17(molecule="watre", root=str(root)).read()
    message = str(caught.value)
    assert "looked for md17_watre.npz and watre_dft.npz" in message
    assert "(known: toluene, water)" in message
    with pytest.raises(InputError, match=r"md22_x.npz in .*known: water"):
        MD22(molecule="x", root=str(root)).read()
    with pytest.raises(InputError, match="there is no such folder"):
        MD22(molecule="x", root=str(root / "none")).read()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"F": None}, r"lacks F; it has z, R, E"),
        ({"z": None}, r"lacks z; it has R, E"),
        ({"R": np.zeros((30, 4, 3))}, r"positions have shape \(30, 4, 3\), not \(30, 3, 3\)"),
        ({"E": np.zeros(29)}, r"energy has shape \(29,\), the positions \(30, 3, 3\)"),
        ({"E": np.full(30, np.nan)}, "frame .*: energy 'energy' has NaN"),
        ({"F": np.zeros((30, 2))}, r"forces 'forces' has shape \(2,\), not \(3, 3\)"),
        ({"E": np.array([print] * 30, dtype=object)}, "cannot read .*allow_pickle=False"),
        ({"z": np.array([8, 1, 130])}, "there is no element number 130"),
    ],
)
def test_files_that_cannot_be_used(root: Path, change: dict[str, Any], message: str):
    content = {name: array for name, array in (arrays() | change).items() if array is not None}
    np.savez(root / "md17_water.npz", **content)
    with pytest.raises(InputError, match=message):
        MD17(molecule="water", root=str(root), **FEW).read()


def test_what_is_no_npz(root: Path):
    (root / "md17_water.npz").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(InputError, match=r"cannot read .*md17_water.npz"):
        MD17(molecule="water", root=str(root)).read()
    np.save(root / "array.npy", np.zeros(3))
    (root / "array.npy").rename(root / "md17_water.npz")
    with pytest.raises(InputError, match=r"cannot read .*md17_water.npz"):
        MD17(molecule="water", root=str(root)).read()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_train": 28}, "test 5, val 3, train 28 are more than there are: 30 frames"),
        ({"n_train": 0}, "n_train must be at least 1, not 0"),
        ({"n_val": -1}, "n_val must be at least 0, not -1"),
        ({"n_test": -1}, "n_test must be at least 0, not -1"),
    ],
)
def test_numbers_that_do_not_fit(root: Path, options: dict[str, int], message: str):
    with pytest.raises(InputError, match=message):
        MD17(molecule="water", root=str(root), **{**FEW, **options}).read()


def test_the_names_in_recipes():
    assert DATAMODULES.get("md17") is MD17
    assert DATAMODULES.get("md22") is MD22
