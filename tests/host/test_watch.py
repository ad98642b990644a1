"""A process that is gone is noticed, and the others say why they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import ddp
import tiny
from hermnet.host.watch import Watch, first_line

MINUTE = 60.0


def test_the_end_of_a_child_is_the_reason():
    child = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    child.wait()
    assert Watch([child], first=0).reason(1.0) == (1, "process 1 was ended with exit code 3")
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    watch = Watch([child], first=4)
    assert watch.reason(0.1) is None
    watch.kill_children()
    child.wait()
    assert watch.reason(1.0) == (1, "process 5 was ended by SIGKILL")


def test_an_error_has_a_first_line():
    assert first_line(RuntimeError("broken\nfrom here")) == "broken"
    assert first_line(KeyError()) == "KeyError"


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A long fit in two processes that has come to its first checkpoint, and the second's PID."""
    recipe = tiny.recipe_file(tmp_path, tiny.data(tmp_path / "data"))
    long = ("trainer.devices=2", "trainer.max_epochs=100000")
    first = ddp.hermnet("fit", "--config", str(recipe), *long)
    until(lambda: (tmp_path / "run/checkpoints/last.ckpt").exists(), ddp.TIMEOUT)
    listed = subprocess.run(["pgrep", "-P", str(first.pid)], capture_output=True, text=True)
    second = int(listed.stdout.split()[0])
    yield first, second
    for pid in (first.pid, second):
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)
    first.communicate()


def until(reached, seconds: float) -> float:
    """Wait; the time it took."""
    start = time.monotonic()
    while not reached():
        assert time.monotonic() - start < seconds
        time.sleep(0.2)
    return time.monotonic() - start


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
@pytest.mark.parametrize(
    ("victim", "sent", "reason"),
    [
        (1, signal.SIGKILL, "error: process 1 was ended by SIGKILL"),
        (0, signal.SIGKILL, "error: process 0 has ended without a word"),
        (1, signal.SIGSTOP, "error: process 1 has not been heard of for 45 s"),
    ],
    ids=["other killed", "first killed", "other stopped"],
)
def test_no_process_outlives_another_by_a_minute(
    running: tuple[subprocess.Popen[str], int], victim: int, sent: signal.Signals, reason: str
):
    first, second = running
    os.kill((first.pid, second)[victim], sent)
    left = (second, first.pid)[victim]
    until(lambda: not is_alive(left), MINUTE)
    if is_alive(second):
        os.kill(second, signal.SIGKILL)  # it holds the pipe
    _, errors = first.communicate(timeout=MINUTE)
    assert sum(line.startswith(reason) for line in errors.splitlines()) == 1, errors
    assert "Traceback" not in errors
    if victim == 1:
        assert first.returncode == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "code", "reason"),
    [
        ("InputError", 2, "error: process 1: frame 7 cannot be used"),
        ("ValueError", 1, "error: process 1 failed: ValueError: frame 7 cannot be used"),
    ],
)
def test_what_goes_wrong_in_one_process_is_said_by_the_first(
    kind: str, code: int, reason: str, tmp_path: Path
):
    recipe = tiny.recipe_file(tmp_path, tiny.data(tmp_path / "data"))
    fit = ("fit", "--config", str(recipe), "trainer.devices=2", "data.batch_size=1")
    script = str(Path(ddp.__file__).with_name("failing.py"))
    start = time.monotonic()
    ((found, _, errors),) = ddp.answers([ddp.start(script, kind, *fit)], timeout=2 * MINUTE)
    assert time.monotonic() - start < 2 * MINUTE
    assert found == code, errors
    assert [line for line in errors.splitlines() if line.startswith("error: ")] == [reason]
    assert ("Traceback" in errors) == (kind == "ValueError"), "a bug keeps its traceback"
