from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hermnet.ablation import pool
from hermnet.ablation.execution import RunTask, last_words
from hermnet.ablation.folder import Status
from hermnet.ablation.pool import gpus, n_at_a_time, run_here
from hermnet.errors import InputError


def test_how_many_runs_go_side_by_side(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pool, "n_cores", lambda: 8)
    assert n_at_a_time(3, None, []) == 3
    assert n_at_a_time(None, 2, []) == 4
    assert n_at_a_time(None, None, []) == 1  # a run takes all cores
    assert n_at_a_time(None, 1, ["0", "1"]) == 2
    with pytest.raises(InputError, match=r"--jobs must be at least 1, not 0"):
        n_at_a_time(0, None, [])


def test_the_gpus_are_those_that_the_process_may_use(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 5")
    assert gpus() == ["2", "5"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpus() == []


def test_runs_share_gpus_and_threads(monkeypatch: pytest.MonkeyPatch):
    busy: set[str | None] = set()
    seen: dict[str, str | None] = {}
    threads: list[int] = []

    class Task:
        def __init__(self, path: str, n_threads: int) -> None:
            threads.append(n_threads)

        def __call__(self, name: str, device: str | None) -> Status:
            with guard:
                assert device not in busy
                busy.add(device)
            time.sleep(0.01)
            with guard:
                busy.remove(device)
            seen[name] = device
            return Status(0, 1.0)

    guard = threading.Lock()
    monkeypatch.setattr(pool, "RunTask", Task)
    monkeypatch.setattr(pool, "n_cores", lambda: 8)
    names, told = [f"run{k}" for k in range(9)], []
    run_here("somewhere", names, 2, ["3", "7"], lambda name, status: told.append(name))
    assert sorted(told) == sorted(seen) == names
    assert set(seen.values()) == {"3", "7"}
    assert threads == [4]


def test_the_environment_of_a_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    from hermnet.ablation.execution import _environment

    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RANK", "1")
    found = _environment(3, "5")
    assert (found["OMP_NUM_THREADS"], found["CUDA_VISIBLE_DEVICES"]) == ("3", "5")
    assert "RANK" not in found
    monkeypatch.setenv("OMP_NUM_THREADS", "2")  # the user's choice
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    found = _environment(3, None)
    assert found["MKL_NUM_THREADS"] == "2"  # torch goes by it
    assert (found["OMP_NUM_THREADS"], found["CUDA_VISIBLE_DEVICES"]) == ("2", "1")


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("epoch 1\nerror: the loss is no number\n", "the loss is no number"),
        ("error: old\n" + "epoch\n" * 5 + "Killed\n\n", "Killed"),
        ("", ""),
    ],
)
def test_the_last_words_of_a_log(tmp_path: Path, log: str, said: str):
    (tmp_path / "log").write_text(log)
    assert last_words(tmp_path / "log") == said
    assert last_words(tmp_path / "none") == ""


def test_a_task_travels_to_another_process():
    import pickle

    task = pickle.loads(pickle.dumps(RunTask("somewhere", 2)))
    assert vars(task) == {"_path": "somewhere", "_threads": 2, "_processes": {}}


def test_a_job_whose_time_is_up_ends_its_run_and_comes_again():
    task = RunTask("somewhere", 2)
    task._processes["one"] = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    again = task.checkpoint("one")
    assert task._processes["one"].returncode == -signal.SIGTERM
    assert again.args == ("one", None)
    assert vars(again.function)["_path"] == "somewhere"
