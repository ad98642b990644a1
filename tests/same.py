"""Two runs held against each other, bit by bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from hermnet.run.folder import RunFolder
from hermnet.run.plots import read_curves


def raw(path: Path) -> dict[str, Any]:
    """A checkpoint as torch reads it."""
    content: dict[str, Any] = torch.load(path, weights_only=True)
    return content


def assert_same(one: Any, other: Any, where: str = "") -> None:
    """Both are equal in every entry, tensors in every bit."""
    if isinstance(one, dict):
        assert isinstance(other, dict), where
        assert one.keys() == other.keys(), where
        for key, value in one.items():
            assert_same(value, other[key], f"{where}.{key}")
    elif isinstance(one, list):
        assert isinstance(other, list), where
        assert len(one) == len(other), where
        for index, value in enumerate(one):
            assert_same(value, other[index], f"{where}[{index}]")
    elif isinstance(one, torch.Tensor):
        assert isinstance(other, torch.Tensor), where
        assert one.dtype == other.dtype, where
        assert torch.equal(one, other), where
    else:
        assert one == other, f"{where}: {one!r} is not {other!r}"


def assert_same_runs(one: RunFolder, other: RunFolder) -> None:
    """Checkpoints, results and joined curves of two finished runs are the same."""
    for path, theirs in ((one.last, other.last), (one.best, other.best)):
        contents = [raw(path), raw(theirs)]
        for content in contents:
            content["hermnet"]["recipe"]["trainer"].pop("default_root_dir")
            for clock in ("seconds", "processor_seconds"):  # no two runs take the same time
                content["callbacks"]["Cost"].pop(clock)
        assert_same(*contents, path.name)
    assert one.results.read_bytes() == other.results.read_bytes()
    curves = [read_curves(folder.metrics()) for folder in (one, other)]
    assert curves[0].keys() == curves[1].keys()
    for name, points in curves[0].items():
        assert points.tolist() == curves[1][name].tolist(), name
