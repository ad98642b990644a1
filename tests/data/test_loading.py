"""What is wrong with an item reaches the user as it was raised, whatever process raised it."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.db import connect
from torch.utils.data import get_worker_info

import lazy
import tiny
from hermnet.cli import main
from hermnet.data.frames import Frame
from hermnet.data.loading import Loader
from hermnet.data.sqlite import SqliteFrames
from hermnet.errors import InputError, InputErrors

processes = pytest.mark.parametrize("num_workers", [0, 1])


class Items(Sequence[Any]):
    """Numbers, of which the sixth is replaced by an exception."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: Any) -> Any:
        if index == 5:
            raise self.error
        return index


@processes
def test_the_message_is_the_one_that_was_raised(num_workers: int):
    error = InputError("val frame 5: atoms 0 (O) and 1 (H) are 0 A apart")
    batches = iter(Loader.of(Items(error), list, num_workers=num_workers, batch_size=2))
    assert [next(batches), next(batches)] == [[0, 1], [2, 3]]
    with pytest.raises(InputError) as raised:
        next(batches)
    assert str(raised.value) == str(error)


@processes
def test_several_problems_stay_several(num_workers: int):
    with pytest.raises(InputErrors) as raised:
        list(Loader.of(Items(InputErrors(["one", "two"])), list, num_workers=num_workers))
    assert raised.value.messages == ["one", "two"]


def test_a_bug_in_a_process_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError, match="Traceback"):
        list(Loader.of(Items(ZeroDivisionError("a bug")), list, num_workers=1))


def test_items_of_their_own_are_no_batches():
    loader = Loader.of(Items(InputError("no")), lambda item: -item, batch_size=None)
    found = iter(loader)
    assert [next(found) for _ in range(5)] == [0, -1, -2, -3, -4]
    with pytest.raises(InputError, match=r"^no$"):
        next(found)


def test_what_processes_are_given_can_be_sent_to_them():
    loader = Loader.of(["a", "bc"], len, batch_size=1)
    dataset, collate = pickle.loads(pickle.dumps((loader.dataset, loader.collate_fn)))
    assert collate([dataset[0], dataset[1]]) == 2


@processes
def test_a_bad_frame_that_is_read_lazily(tmp_path: Path, num_workers: int):
    path = lazy.write(tmp_path / "methanol.npz", range(4))
    data = lazy.Lazy(train=str(path), batch_size=2, num_workers=num_workers)
    data.set_cutoff(3.0)
    assert len(data.graphs("train")) == 4
    energy = np.array([0.0, 1.0, np.nan, 3.0])
    lazy.write(path, range(4), energy=energy)  # after it has been opened
    with pytest.raises(InputError) as raised:
        list(data.eval_dataloader("train"))
    assert str(raised.value) == f"{path}, frame 2: energy 'energy' has NaN or infinity"


@pytest.mark.filterwarnings("ignore:relations with few training edges")
def test_a_row_that_goes_bad_between_two_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    given = []
    for split in ("train", "val"):
        path = tmp_path / f"{split}.db"
        for seed in range(4):
            connect(path).write(tiny.methanol(seed))
        given.append(f"data.{split}={path}")
    recipe = tiny.recipe_file(tmp_path, tmp_path, ())
    argv = ["fit", "--config", str(recipe), "data.name=ase_db", *given, "data.num_workers=1"]
    argv += ["trainer.max_epochs=1", "trainer.logger=false", "--overwrite"]
    assert main(argv) == 0
    capfd.readouterr()
    read = SqliteFrames.__getitem__

    def damaged(frames: SqliteFrames, index: int) -> Frame:
        assert get_worker_info() is not None, "the first run has left the facts in the cache"
        if index == 3:
            raise InputError(f"{frames.path}, row 4 is damaged")
        return read(frames, index)

    monkeypatch.setattr(SqliteFrames, "__getitem__", damaged)
    assert main(argv) == 2
    assert capfd.readouterr().err == f"error: {tmp_path}/val.db, row 4 is damaged\n"
