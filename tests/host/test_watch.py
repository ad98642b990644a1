"""A process that is gone is noticed, and the others say why they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
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


VICTIMS = {  # which process gets which signal, and what is said then
    "other stopped": (1, signal.SIGSTOP, "error: process 1 has not been heard of for 45 s"),
    "other killed": (1, signal.SIGKILL, "error: process 1 was ended by SIGKILL"),
    "first killed": (0, signal.SIGKILL, "error: process 0 has ended without a word"),
}


@dataclass
class Fit:
    """A long fit in two processes; once one of them has got a signal, the wait for the other."""

    folder: Path
    first: subprocess.Popen[str]
    second: int = 0
    wait: Future[None] = field(default_factory=Future)

    def strike(self, victim: int, sent: signal.Signals, pool: Executor) -> None:
        """Send the signal at the first checkpoint."""
        until((self.folder / "run/checkpoints/last.ckpt").exists, ddp.TIMEOUT)
        command = ["pgrep", "-P", str(self.first.pid)]
        self.second = int(subprocess.run(command, capture_output=True, text=True).stdout.split()[0])
        os.kill((self.first.pid, self.second)[victim], sent)
        left = (self.second, self.first.pid)[victim]
        self.wait = pool.submit(until, lambda: not is_alive(left), MINUTE)

    def end(self) -> None:
        for pid in (self.first.pid, self.second):
            if pid and is_alive(pid):
                os.kill(pid, signal.SIGKILL)
        self.first.communicate()


@pytest.fixture(scope="module")
def fits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Fit]]:
    """One for each victim; while one waits the next ones start."""
    found: dict[str, Fit] = {}
    with ThreadPoolExecutor() as pool:
        try:
            for name, (victim, sent, _) in VICTIMS.items():
                folder = tmp_path_factory.mktemp("fit")
                found[name] = Fit(folder, start_long_fit(folder))
                found[name].strike(victim, sent, pool)
            yield found
        finally:
            for fit in found.values():
                fit.end()


def start_long_fit(folder: Path) -> subprocess.Popen[str]:
    recipe = tiny.recipe_file(folder, tiny.data(folder / "data"))
    # so long a run would be compiled, which takes a while
    long = ("trainer.devices=2", "trainer.max_epochs=100000", "training.compile=false")
    return ddp.hermnet("fit", "--config", str(recipe), *long)


def until(reached: Callable[[], bool], seconds: float) -> None:
    start = time.monotonic()
    while not reached():
        assert time.monotonic() - start < seconds
        time.sleep(0.2)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
@pytest.mark.parametrize("name", ["other killed", "first killed", "other stopped"])
def test_no_process_outlives_another_by_a_minute(fits: dict[str, Fit], name: str):
    victim, _, reason = VICTIMS[name]
    first, second = fits[name].first, fits[name].second
    fits[name].wait.result()
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
