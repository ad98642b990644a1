from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from hermnet.errors import InputError
from hermnet.host.atomic import copy_atomically, is_of_the_disk, remove_parts, write_atomically


def test_a_file_is_replaced(tmp_path: Path):
    path = tmp_path / "a.txt"
    write_atomically(path, "first")
    write_atomically(path, b"second")
    assert path.read_bytes() == b"second"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "No space left on device; free some space; the file that was there before"),
        (errno.EDQUOT, "quota exceeded; free some space; the file"),
        (errno.EROFS, "Read-only file system; the file that was there before is intact"),
    ],
)
def test_a_write_that_fails_leaves_the_file_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, number: int, message: str
):
    path = tmp_path / "a.txt"
    write_atomically(path, "first")

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, step, fail)
        with pytest.raises(InputError, match=message):
            write_atomically(path, "second")
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]
    assert is_of_the_disk(OSError(number, ""))
    assert not is_of_the_disk(OSError(errno.ENOENT, ""))


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_a_copy_stays_when_the_file_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
):
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    path, copy = tmp_path / "a.txt", tmp_path / "b.txt"
    write_atomically(copy, "older")
    write_atomically(path, "first")
    for _ in range(2):
        copy_atomically(path, copy)
    write_atomically(path, "second")
    assert (path.read_text(), copy.read_text()) == ("second", "first")
    assert sorted(tmp_path.iterdir()) == [path, copy]


def test_what_a_killed_process_left_is_removed(tmp_path: Path):
    (tmp_path / "a.ckpt.part").write_text("half")
    (tmp_path / "a.ckpt").write_text("whole")
    remove_parts(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.ckpt"]
