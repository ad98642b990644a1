"""Packed frames against the arrays that they were made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny
from hermnet.datamodules.packed import Packed
from hermnet.errors import InputError

FRAMES = [tiny.alloy(seed) for seed in range(4)]
SPLIT = ["train", "train", "val", "hot"]


def arrays() -> dict[str, Any]:
    stress = [np.asarray(atoms.get_stress(voigt=False)) for atoms in FRAMES]
    return {
        "n_atoms": [len(atoms) for atoms in FRAMES],
        "numbers": np.concatenate([atoms.numbers for atoms in FRAMES]).astype(np.uint8),
        "positions": np.concatenate([atoms.positions for atoms in FRAMES]),
        "cell": np.stack([atoms.cell.array for atoms in FRAMES]),
        "pbc": np.stack([atoms.pbc for atoms in FRAMES]),
        "energy": [atoms.get_potential_energy() for atoms in FRAMES],
        "forces": np.concatenate([atoms.get_forces() for atoms in FRAMES]),
        "stress": np.stack(stress),
        "split": SPLIT,
        "group": ["a", "b", "a", "c"],
        "meta": "{}",
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    np.savez(tmp_path / "cuau.npz", **arrays())
    return tmp_path / "cuau.npz"


def test_parts_become_splits(path: Path):
    data = Packed(
        train=f"{path}::train",
        val=f"{path}::val",
        test={"hot": f"{path}::hot", "all": str(path)},
        labels=["energy", "forces", "stress"],
    )
    splits = data.read()
    assert {name: len(graphs) for name, graphs in splits.items()} == {
        "train": 2,
        "val": 1,
        "hot": 1,
        "all": 4,
    }
    for atoms, graph in zip(FRAMES, splits["all"], strict=True):
        np.testing.assert_array_equal(graph.positions, atoms.positions)
        np.testing.assert_array_equal(graph.atomic_numbers, atoms.numbers)
        np.testing.assert_array_equal(graph.cell[0], atoms.cell.array)
        np.testing.assert_allclose(graph.energy, atoms.get_potential_energy())
        np.testing.assert_allclose(graph.forces, atoms.get_forces())
        np.testing.assert_allclose(graph.stress[0], atoms.get_stress(voigt=False))


def test_nan_is_a_missing_label(tmp_path: Path):
    content = arrays()
    content["forces"][: len(FRAMES[0])] = np.nan
    np.savez(tmp_path / "gaps.npz", **content)
    with pytest.raises(InputError, match=r"gaps.npz, frame 0: no forces 'forces'"):
        Packed(train=str(tmp_path / "gaps.npz")).read()
    skipped = Packed(train=str(tmp_path / "gaps.npz"), missing="skip").read()["train"]
    assert len(skipped) == 3
    masked = Packed(train=str(tmp_path / "gaps.npz"), missing="mask")
    masked.set_cutoff(3.0)
    assert masked.graphs("train")[0].forces.isnan().all()


def test_groups_stay_together(path: Path):
    data = Packed(train=str(path), n_val=1, n_test=1, group_key="group", seed=3)
    splits = data.read()
    indices = data.split_indices()
    groups = {name: {arrays()["group"][k] for k in part} for name, part in indices.items()}
    assert not groups["train"] & (groups["val"] | groups["test"])
    assert sum(len(graphs) for graphs in splits.values()) == 4
    with pytest.raises(InputError, match=r"frame 0 has no group_key 'run' \(keys: .*group"):
        Packed(train=str(path), n_val=1, group_key="run").read()


def test_splits_of_an_earlier_run_are_used(path: Path):
    data = Packed(train=str(path), n_val=1)
    data.use_split_indices({"train": [0, 1, 3], "val": [2]})
    found = [float(graph.energy) for graph in data.read()["val"]]
    assert found == pytest.approx([FRAMES[2].get_potential_energy()])
    data.use_split_indices({"train": [0, 7], "val": [2]})
    with pytest.raises(InputError, match="name frame 7, but the training files hold 4"):
        data.read()


def without(*names: str) -> dict[str, Any]:
    return {name: array for name, array in arrays().items() if name not in names}


@pytest.mark.parametrize(
    ("content", "part", "message"),
    [
        (without("numbers", "n_atoms"), "", "lacks n_atoms, numbers; it has positions"),
        (arrays(), "::tset", "has no part 'tset'; did you mean 'test'|known: hot, train, val"),
        (without("split"), "::train", "has no parts, so no 'train': it lacks 'split'"),
        ({**arrays(), "positions": np.zeros((3, 3))}, "", "3 rows, the frames have 16 atoms"),
        (
            {**arrays(), "n_atoms": np.array([{}], dtype=object)},
            "",
            "cannot read .*: Object arrays",
        ),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, content: dict, part: str, message: str):
    np.savez(tmp_path / "bad.npz", **content)
    with pytest.raises(InputError, match=message):
        Packed(train=f"{tmp_path / 'bad.npz'}{part}").read()


def test_a_truncated_file(path: Path):
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(InputError, match=r"cannot read .*cuau.npz"):
        Packed(train=str(path)).read()
