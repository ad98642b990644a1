from __future__ import annotations

import os
from pathlib import Path

import pytest

from hermnet.training.history import History


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_the_latest_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool):
    def refuse(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    last = tmp_path / "last.ckpt"
    (tmp_path / "best.ckpt").write_text("best")
    for step in (5, 10, 15, 100):
        os.replace(written(tmp_path / "new", f"{step}"), last)
        History(tmp_path, 3).add(last, step)
    assert kept(tmp_path) == {10: "10", 15: "15", 100: "100"}
    os.replace(written(tmp_path / "new", "12"), last)
    History(tmp_path, 3).add(last, 12)  # resumed from 10
    assert kept(tmp_path) == {10: "10", 12: "12"}
    History(tmp_path, 1).add(last, 12)
    assert kept(tmp_path) == {}
    assert (tmp_path / "best.ckpt").read_text() == "best"


def kept(folder: Path) -> dict[int, str]:
    found = {int(path.stem[5:]): path.read_text() for path in folder.glob("step-*.ckpt")}
    return dict(sorted(found.items()))


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path
