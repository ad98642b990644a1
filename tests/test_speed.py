"""The comparison with other packages: contenders, goals and the page of results."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from programs import FOLDER, run


@pytest.mark.slow
def test_speed_with_and_without_a_peer(tmp_path: Path):
    some = ("--groups", "painn", "--cases", "10 ethanols", "--only", "^none eager|^SchNetPack")
    lines = run("speed.py", tmp_path, *some, "--peer", "schnetpack=/nowhere/python")
    assert lines[0] == "painn, 10 ethanols: 90 atoms, 720 edges"
    assert lines[1] == "  SchNetPack PaiNN: /nowhere/python: No such file or directory"
    found = json.loads((tmp_path / "painn_10_ethanols.json").read_text(encoding="utf-8"))
    assert found["ceilings"]["copy"] > 1e8
    contenders = found["contenders"]
    assert contenders["SchNetPack PaiNN"] == {
        "refused": "/nowhere/python: No such file or directory"
    }
    none = contenders["none eager"]
    for task, more in (("training step", 3), ("energy+forces", 1)):
        assert none[task]["seconds"] > 0
        assert none[task]["memory"] > more * 1e6
        assert none[task]["counted flops"] > more * 7e7
    assert none["parameters"] > 1e5


def test_a_contender_whose_process_ends_is_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """As where the memory of the machine does not suffice."""
    monkeypatch.syspath_prepend(str(FOLDER))
    from contenders import GROUPS, Process
    from speed import Job

    class Rival:
        contender = GROUPS["painn"][1]
        process = Process("hermnet", sys.executable)

        def finish(self) -> None:
            self.process._process.kill()
            self.process.ask("memory", task="training step")

        def close(self) -> None:
            self.process.close()

    given = SimpleNamespace(only="eager")
    job = Job("painn", "4096-atom Si", tmp_path, given)
    assert [contender.name for contender in job._chosen] == ["none eager"]
    job._finish(Rival())
    assert job.found == {"none eager": {"refused": "its process ended with code -9"}}
    assert "none eager: its process ended" in capsys.readouterr().out


def test_goals_are_ratios_within_rounds(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    from goals import PREDICTION, STEP, Goal

    def row(*seconds: float, memory: float) -> dict[str, object]:
        task = {"rounds": seconds, "memory": memory}
        return {STEP: task, PREDICTION: task}

    contenders = {
        "own": row(1.0, 2.0, 1.0, memory=4),
        "slow": row(5.0, 8.0, 5.0, memory=10),
        "fast": row(3.0, 8.0, 3.0, memory=8),
        "none": {"refused": "not there"},
    }
    ahead = Goal("", "g", 3.0, "own", ("slow", "fast", "none"))
    assert ahead.ratio(contenders, STEP) == 3.0
    assert ahead.met(3.0)
    assert not ahead.met(2.9)
    bound = Goal("", "g", 0.5, "own", ("slow", "fast"), at_most=True, key="memory")
    assert bound.ratio(contenders, STEP) == 0.5
    assert bound.met(0.5)
    assert Goal("", "g", 2.0, "none", ("fast",)).ratio(contenders, STEP) is None


def test_the_page_is_filled_from_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    from report import PAGE, RESULTS, filled, page_parts

    parts = page_parts(RESULTS)
    page = PAGE.read_text(encoding="utf-8")
    assert filled(page, parts) == page, "run: make benchmark, or benchmarks/report.py"
