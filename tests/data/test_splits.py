from __future__ import annotations

from pathlib import Path

import pytest

from hermnet.data.splits import carve, check_indices
from hermnet.errors import InputError


def test_every_frame_is_in_one_split_and_the_seed_decides():
    found = carve(100, {"test": 20, "val": 0.1}, seed=1)
    assert {name: len(indices) for name, indices in found.items()} == {
        "test": 20,
        "val": 10,
        "train": 70,
    }
    assert sorted(index for indices in found.values() for index in indices) == list(range(100))
    assert carve(100, {"test": 20, "val": 0.1}, seed=1) == found
    assert carve(100, {"test": 20, "val": 0.1}, seed=2) != found


def test_a_group_is_never_parted():
    groups = [f"run {index // 7}" for index in range(70)]
    found = carve(70, {"test": 10, "val": 5}, seed=0, groups=groups)
    sides = {name: {groups[index] for index in indices} for name, indices in found.items()}
    assert not sides["train"] & sides["val"]
    assert not sides["train"] & sides["test"]
    assert not sides["val"] & sides["test"]
    assert len(found["test"]) == 14
    assert len(found["val"]) == 7


def test_something_must_be_left_to_train_on():
    with pytest.raises(InputError, match="val 3 leaves nothing to train on: there are 3 frames"):
        carve(3, {"val": 3}, seed=0)
    with pytest.raises(InputError, match="there are 4 frames in 1 groups"):
        carve(4, {"val": 1}, seed=0, groups=["a"] * 4)


@pytest.mark.parametrize("part", [-1, 2.5])
def test_a_part_is_a_number_or_a_fraction(part: float):
    with pytest.raises(InputError, match="n_val must be a"):
        carve(10, {"val": part}, seed=0)


def test_what_is_left_may_go_to_another_split_or_to_none():
    found = carve(10, {"train": 3, "val": 2}, seed=0, rest="test")
    assert {name: len(indices) for name, indices in found.items()} == {
        "train": 3,
        "val": 2,
        "test": 5,
    }
    found = carve(10, {"test": 4, "train": 6}, seed=0, rest=None)
    assert sorted(found["test"] + found["train"]) == list(range(10))
    with pytest.raises(InputError, match="test 4, train 7 are more than there are: 10 frames"):
        carve(10, {"test": 4, "train": 7}, seed=0, rest=None)


def test_a_file_that_has_become_shorter():
    check_indices({"train": [0, 2], "test": []}, 3, Path("a.npz"))
    with pytest.raises(InputError, match=r"the run's splits name frame 2, but a.npz holds 2"):
        check_indices({"train": [0, 2]}, 2, Path("a.npz"))
