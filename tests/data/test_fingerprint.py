from __future__ import annotations

import os
from pathlib import Path

import pytest

from hermnet.data import fingerprint
from hermnet.data.fingerprint import FileStamp, digest


def test_parts_are_not_run_together():
    assert digest("ab", "c") != digest("a", "bc")
    assert digest("a", b"b") == digest("a", "b")


def rewritten(path: Path, content: bytes) -> None:
    """Another content at the same time of the last change."""
    changed = path.stat().st_mtime_ns
    path.write_bytes(content)
    os.utime(path, ns=(changed, changed))


def test_every_byte_of_a_small_file_counts(tmp_path: Path):
    path = tmp_path / "frames"
    path.write_bytes(b"abc")
    found = FileStamp.of(path).fingerprint("text")
    assert FileStamp.of(path).fingerprint("text") == found
    assert FileStamp.of(path).fingerprint("text", "train") != found
    rewritten(path, b"abd")
    assert FileStamp.of(path).fingerprint("text") != found
    rewritten(path, b"abc")
    assert FileStamp.of(path).fingerprint("text") == found
    path.rename(tmp_path / "other")
    assert FileStamp.of(tmp_path / "other").fingerprint("text") != found


def test_of_a_large_file_the_ends_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fingerprint, "_WHOLE", 5)
    monkeypatch.setattr(fingerprint, "_END", 2)
    path = tmp_path / "frames"
    path.write_bytes(b"abcdefgh")

    def found(content: bytes) -> str | None:
        rewritten(path, content)
        return FileStamp.of(path).fingerprint()

    first = found(b"abcdefgh")
    assert found(b"abc--fgh") == first
    assert found(b"a-cdefgh") != first
    assert found(b"abcdef-h") != first
    path.write_bytes(b"abcdefgh")
    assert FileStamp.of(path).fingerprint() != first, "the time counts"


def test_a_file_that_changed_after_it_was_opened_has_none(tmp_path: Path):
    path = tmp_path / "frames"
    path.write_bytes(b"abc")
    stamp = FileStamp.of(path)
    path.write_bytes(b"abcd")
    assert stamp.fingerprint() is None
    path.unlink()
    assert stamp.fingerprint() is None


def test_a_folder_is_all_that_is_in_it(tmp_path: Path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.npy").write_bytes(b"a")
    stamp = FileStamp.of(tmp_path)
    first = stamp.fingerprint()
    rewritten(tmp_path / "set" / "a.npy", b"b")
    assert stamp.fingerprint() != first
    (tmp_path / "set" / "b.npy").write_bytes(b"b")
    assert stamp.fingerprint() is None
    assert FileStamp.of(tmp_path).fingerprint() != first
