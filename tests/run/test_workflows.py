"""What a workflow refuses before anything is trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from ase import Atoms

import tiny
from hermnet.errors import InputError
from hermnet.run.datasets import load_data
from hermnet.run.workflows import EnergyWorkflow


def check(folder: Path, lacks: Callable[[str, int], bool], *options: str) -> None:
    """Check data with masked labels, of which some frames lack the forces.

    Args:
        folder: where the data go.
        lacks: says of a split and the index of a frame whether it has none.
        options: further overrides.
    """

    def frame(split: str, index: int) -> Atoms:
        return tiny.methanol(index, forces=not lacks(split, index))

    for split, n_frames in tiny.N_FRAMES.items():
        tiny.write(folder / f"{split}.xyz", [frame(split, index) for index in range(n_frames)])
    recipe = tiny.recipe(folder, folder, "data.missing=mask", *options)
    EnergyWorkflow().check(recipe, load_data(recipe))


def test_a_label_that_some_frame_has_will_do(tmp_path: Path):
    check(tmp_path, lambda split, index: index > 0)


@pytest.mark.parametrize("masked", ["train", "val"])
def test_a_label_that_is_masked_throughout_is_refused(tmp_path: Path, masked: str):
    message = f"forces_weight is positive, but no {masked} frame has forces: all are masked"
    with pytest.raises(InputError, match=message):
        check(tmp_path, lambda split, index: split == masked)


def test_a_label_that_is_not_wanted_may_be_masked_throughout(tmp_path: Path):
    check(tmp_path, lambda split, index: True, "training.forces_weight=0")


def test_a_key_that_no_frame_has(tmp_path: Path):
    with pytest.raises(
        InputError, match=r"no train frame has energy.*add energy, or mend data\.keys$"
    ):
        check(tmp_path, lambda split, index: False, "data.keys={energy: E_dft}")
