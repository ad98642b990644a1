"""Sets of different formats and labels, trained on as one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny
from hermnet.datamodules.mix import Mix
from hermnet.errors import InputError, InputErrors


@pytest.fixture
def sets(tmp_path: Path) -> list[dict[str, Any]]:
    """Six alloys with stress and four molecules without."""
    alloys = tiny.write(tmp_path / "alloys.xyz", [tiny.alloy(seed) for seed in range(6)])
    molecules = tiny.write(tmp_path / "molecules.xyz", [tiny.methanol(seed) for seed in range(4)])
    labels = ["energy", "forces", "stress"]
    return [
        {"name": "extxyz", "train": str(alloys), "n_val": 2, "labels": labels, "weight": 2},
        {"name": "extxyz", "train": str(molecules), "test": str(molecules)},
    ]


def test_frames_of_all_sets_with_the_labels_they_have(sets: list[dict[str, Any]]):
    data = Mix(sets=sets)
    data.set_cutoff(3.0)
    train = data.graphs("train")
    assert {split: len(data.graphs(split)) for split in data.splits()} == {
        "train": 8,
        "val": 2,
        "test": 4,
    }
    has_stress = [not bool(graph.stress.isnan().any()) for graph in train]
    assert has_stress == [True] * 4 + [False] * 4
    assert all(graph.forces.isfinite().all() for graph in train)
    assert data.masks_labels


def test_a_weight_says_how_often_frames_are_drawn(sets: list[dict[str, Any]]):
    data = Mix(sets=sets)
    data.set_cutoff(3.0)
    drawn = np.bincount(list(data.train_dataloader().batch_sampler.sampler), minlength=8)
    assert drawn.tolist() == [2, 2, 2, 2, 1, 1, 1, 1]


def test_random_splits_are_kept_by_set(sets: list[dict[str, Any]]):
    data = Mix(sets=sets)
    data.read()
    (val,) = [part for name, part in data.split_indices().items() if name.endswith("/val")]
    other = Mix(sets=[{**sets[0], "seed": 7}, sets[1]])
    other.use_split_indices(data.split_indices())
    other.read()
    assert other.split_indices()["0/val"] == val


def test_everything_wrong_with_the_sets_is_said_at_once():
    wrong = [{"train": "a.xyz"}, {"name": "extxyzz"}, {"name": "extxyz", "trian": "x"}]
    with pytest.raises(InputErrors) as caught:
        Mix(sets=wrong)
    assert [message.split(":")[0] for message in caught.value.messages] == [
        "sets[0]",
        "sets[1]",
        "sets[2].trian",
        "sets[2].train",
    ]
    with pytest.raises(InputError, match=r"sets\[0\].weight: must be a positive number, not -1"):
        Mix(sets=[{"name": "rmd17", "weight": -1}])
    with pytest.raises(InputError, match="an empty list names no data"):
        Mix(sets=[])


def test_scalars_of_sets_are_mixed_if_they_are_the_same(tmp_path: Path):
    frames = [tiny.methanol(seed) for seed in range(3)]
    for index, atoms in enumerate(frames):
        atoms.info["gap"] = float(index)
    path = str(tiny.write(tmp_path / "a.xyz", frames))
    one = {"name": "extxyz", "train": path, "scalars": {"gap": "eV"}}
    data = Mix(sets=[one, one])
    assert (data.scalar_names, data.scalar_units) == (("gap",), ("eV",))
    assert [float(graph.scalars) for graph in data.read()["train"]] == [0, 1, 2, 0, 1, 2]
    for other, words in (({"gap": "D"}, r"gap \(eV\); gap \(D\)"), (None, r"gap \(eV\); none")):
        with pytest.raises(InputError, match=f"must have the same scalars .*not {words}"):
            Mix(sets=[one, {**one, "scalars": other}])
