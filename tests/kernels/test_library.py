"""Compiling our own code: where it goes, and what happens where it cannot be done."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest

from hermnet.kernels.library import library


def build():
    return library.__wrapped__("convolution")  # the small one


needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++")


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HERMNET_CACHE", str(tmp_path))
    monkeypatch.delenv("HERMNET_KERNELS", raising=False)


@needs_compiler
def test_it_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert build() is not None
    (made,) = (tmp_path / "kernels").iterdir()
    monkeypatch.setattr("hermnet.kernels.library._compile", lambda *_: pytest.fail("once more"))
    assert build() is not None
    assert [made] == list((tmp_path / "kernels").iterdir())


def test_without_a_compiler_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr("shutil.which", lambda _: None)
    with caplog.at_level(logging.INFO, logger="hermnet.kernels"):
        assert build() is None
    (record,) = caplog.records
    assert record.message.endswith("those of torch: there is no C++ compiler")


@needs_compiler
def test_code_that_does_not_compile(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
):
    source = tmp_path / "convolution.cpp"
    source.write_text("int main( {")
    monkeypatch.setattr("hermnet.kernels.library._FOLDER", tmp_path)
    with caplog.at_level(logging.INFO, logger="hermnet.kernels"):
        assert build() is None
    assert "convolution.cpp" in caplog.records[0].message
    assert not list((tmp_path / "kernels").iterdir()), "nothing half-made"


def test_it_can_be_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HERMNET_KERNELS", "0")
    assert build() is None
    assert not list(tmp_path.iterdir())
