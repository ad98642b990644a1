"""When compiling pays: sizes decide, and nothing else."""

from __future__ import annotations

import pytest

from hermnet.compiling import compiling_pays
from hermnet.model_options import ModelOptions

ETHANOLS, SILICON = 720, 14_336  # edges


@pytest.mark.parametrize(
    ("n_steps", "n_edges", "task", "expected"),
    [
        (5_000, ETHANOLS, "training", False),  # the quickstart
        (500_000, ETHANOLS, "training", True),
        (500, SILICON, "training", False),
        (50_000, SILICON, "training", True),
        (1_000, ETHANOLS, "inference", False),
        (1_000_000, ETHANOLS, "inference", True),
    ],
)
def test_long_runs_are_compiled(
    monkeypatch: pytest.MonkeyPatch, n_steps: int, n_edges: int, task: str, expected: bool
):
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")
    assert compiling_pays(ModelOptions(), n_steps, n_edges, task) is expected


def test_gpus_gain_more(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")
    found = [
        compiling_pays(ModelOptions(), 30_000, ETHANOLS, "training", d) for d in ("cpu", "cuda")
    ]
    assert found == [False, True]


def test_without_a_compiler_nothing_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert not compiling_pays(ModelOptions(), 10**9, SILICON, "training")
