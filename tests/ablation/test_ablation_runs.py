"""Ablations for real: every run is a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import hermnet
from ablations import base
from hermnet.ablation.collecting import runs_table
from hermnet.ablation.folder import AblationFolder
from hermnet.errors import InputError, InputErrors

pytestmark = pytest.mark.slow
GRID = ["--grid", "model.relations=none,vertex"]
AXES = {"model.relations": ["none", "vertex"]}
QUICK = ["trainer.logger=csv", "training.threads=1"]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> str:
    return base(tmp_path_factory.mktemp("runs")).config


def start(config: str, output: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "hermnet.cli", "ablate", "--config", config, *GRID, *QUICK]
    return subprocess.Popen(
        [*command, "--output", str(output), "--jobs", "1", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def wait_until(there: Path, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 900
    while not there.exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until, there
        time.sleep(0.05)


def test_a_killed_ablation_goes_on(config: str, tmp_path: Path):
    folder = AblationFolder(tmp_path / "grid")
    long = ["trainer.max_epochs=40"]
    with start(config, folder.path, *long) as first:
        try:
            wait_until(folder.run("vertex-s0").last, first)  # the second run
            with pytest.raises(InputError, match=r"is in use by process .* folder with --output"):
                hermnet.ablate(config, AXES, output=folder.path, overrides=[*QUICK, *long])
        finally:
            first.send_signal(signal.SIGKILL)
    kept = folder.status("none-s0")
    assert kept is not None
    written = folder.run("none-s0").results.stat().st_mtime_ns
    table = hermnet.ablate(config, AXES, output=folder.path, overrides=[*QUICK, *long], jobs=1)
    assert list(table["state"]) == ["finished", "finished"]
    assert list(table["epochs"]) == [40, 40]
    assert list(table["steps"]) == [120, 120]  # of both starts, wherever the kill came
    assert folder.status("none-s0") == kept
    assert folder.run("none-s0").results.stat().st_mtime_ns == written
    starts = json.loads(folder.run("vertex-s0").starts.read_text())["starts"]
    assert len(starts) == 2
    assert starts[1]["resumed_from"]["step"] > 0
    assert (folder.path / "report.html").is_file()


def test_a_failed_run_on_a_cluster_does_not_stop_the_rest(config: str, tmp_path: Path):
    folder = AblationFolder(tmp_path / "grid")
    axes = {"training.optimizer.lr": [1e30, 1e-3]}
    local = {"name": "local", "timeout_min": 10}
    with pytest.raises(InputErrors, match=r"run lr=1e\+30-s0 failed: .*\(log: .*\)") as caught:
        hermnet.ablate(config, axes, output=folder.path, overrides=QUICK, cluster=local)
    assert len(caught.value.messages) == 1
    table = runs_table(folder).set_index("run")
    assert list(table["state"]) == ["failed", "finished"]
    assert table.loc["lr=0.001-s0", "test_forces_mae"] > 0
    assert "`lr=1e+30-s0` (failed)" in (folder.path / "report.md").read_text(encoding="utf-8")


def test_a_cluster_that_is_not_there_is_refused(config: str, tmp_path: Path):
    for cluster, message in (("slurm", r"--cluster slurm: "), ("slurmm", r"did you mean 'slurm'")):
        with pytest.raises(InputError, match=message):
            hermnet.ablate(config, AXES, output=tmp_path / cluster, cluster={"name": cluster})
