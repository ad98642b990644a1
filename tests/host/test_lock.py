from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hermnet.errors import InputError
from hermnet.host.lock import Lock


def test_one_holds_it_at_a_time(tmp_path: Path):
    first, second = Lock(tmp_path / ".lock"), Lock(tmp_path / ".lock")
    first.check()
    first.acquire()
    for attempt in (second.acquire, second.check):
        with pytest.raises(
            InputError, match=rf"is in use by process {os.getpid()} on .*; wait for"
        ):
            attempt()
    first.release()
    assert not (tmp_path / ".lock").exists()
    second.check()
    second.acquire()
    first.release()  # holds nothing any more
    with pytest.raises(InputError, match="is in use by"):
        first.acquire()
    second.release()


def test_a_killed_process_holds_nobody_up(tmp_path: Path):
    path = tmp_path / ".lock"
    code = (
        "import sys; from pathlib import Path; from hermnet.host.lock import Lock\n"
        f"Lock(Path({str(path)!r})).acquire(); print('held', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    lock = Lock(path)
    with pytest.raises(InputError, match=f"is in use by process {process.pid}"):
        lock.acquire()
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert path.exists()
    lock.check()
    lock.acquire()
    lock.release()


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(30, "Read-o")])
def test_a_folder_that_cannot_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
):
    def refuse(*_: object) -> int:
        raise error

    monkeypatch.setattr(os, "open", refuse)
    lock = Lock(tmp_path / ".lock")
    lock.check()  # says nothing: whether the folder is written to is not known
    with pytest.raises(InputError, match=rf"cannot write to {tmp_path}: (Perm|Read-o)"):
        lock.acquire()
