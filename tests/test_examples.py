"""The job script does what it says, with stand-ins for SLURM's commands."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from hermnet import cli
from hermnet.recipes.config import resolve

SCRIPT = Path(__file__).parents[1] / "examples" / "slurm.sbatch"
SRUN = """#!/bin/bash
printf '%q ' "$@" > srun.txt
trap 'sleep 0.2; exit 143' TERM
for _ in $(seq 100); do sleep 0.1; [ -e finish ] && exit 0; done
"""
SCONTROL = '#!/bin/bash\necho "$@" > scontrol.txt\n'

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="a job script needs bash")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the job runs, with its own srun and scontrol."""
    for name, text in {"srun": SRUN, "scontrol": SCONTROL}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    return tmp_path


def job(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """The script, once its srun is running."""
    slurm = {"SLURM_JOB_ID": "12", "SLURM_NNODES": "2", "SLURM_NTASKS_PER_NODE": "4"}
    environment = {**os.environ, **slurm, "PATH": f"{folder}:{os.environ['PATH']}"}
    started = subprocess.Popen(["bash", str(SCRIPT), *arguments], cwd=folder, env=environment)
    while not (folder / "srun.txt").exists():
        time.sleep(0.02)
    time.sleep(0.3)  # both have set their traps
    return started


def test_a_job_runs_to_its_end(folder: Path):
    started = job(folder, "quickstart", "data.batch_size=2")
    (folder / "finish").touch()
    assert started.wait(20) == 0
    assert not (folder / "scontrol.txt").exists()
    program, *argv = shlex.split((folder / "srun.txt").read_text())[1:]
    assert program == "hermnet"
    arguments = cli._parse(argv)
    assert arguments.resume is None
    recipe = resolve(arguments.config, arguments.overrides)
    assert (recipe.trainer["num_nodes"], recipe.trainer["devices"]) == (2, 4)
    assert recipe.data["batch_size"] == 2


@pytest.mark.parametrize("sent", [signal.SIGUSR1, signal.SIGTERM], ids=lambda sent: sent.name)
def test_a_job_that_must_stop_goes_on_in_the_queue(folder: Path, sent: signal.Signals):
    started = job(folder, "quickstart")
    started.send_signal(sent)
    assert started.wait(20) == 143
    assert (folder / "scontrol.txt").read_text() == "requeue 12\n"


def test_a_job_that_was_stopped_resumes(folder: Path):
    checkpoint = folder / "runs" / "quickstart" / "checkpoints" / "last.ckpt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    started = job(folder, "quickstart")
    (folder / "finish").touch()
    assert started.wait(20) == 0
    argv = shlex.split((folder / "srun.txt").read_text())[2:]
    assert cli._parse(argv).resume == "last"
