"""`Watch`: no process of a run waits for one that is gone.

A process that dies closes its connections, but not always: a machine may lose its power, and NCCL
waits for many minutes. So a thread in every process says every second that it lives, in the store
through which the processes found each other, and reads there who has failed and why.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import NoReturn, final

from torch.distributed import (  # type: ignore[attr-defined]  # it has them
    PrefixStore,
    Store,
    TCPStore,
)

_PERIOD = 1.0  # seconds between two looks
_SILENCE = 45.0  # seconds after which a process counts as gone
_CONNECTION = timedelta(seconds=20)
_FAILURE = "failure"
BAD_INPUT = 2  # exit code
_Failure = tuple[int, str]  # exit code, reason


@final
class Watch:
    """Ends this process, with the reason, when another one of the run has ended.

    Args:
        children: the processes that this one has started.
        first: the number of this process; those of its children follow.
    """

    def __init__(self, children: Sequence[subprocess.Popen[bytes]], first: int) -> None:
        self._children = children
        self._rank = first
        self._store: Store | None = None
        self._others: dict[int, tuple[bytes, float]] = {}  # the last beat, and when it was new
        self._beats = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hermnet-watch", daemon=True)

    def start(self) -> None:
        """Watch the children."""
        self._thread.start()

    def join(self, key: str, rank: int, world: int) -> None:
        """Watch all processes; call it once every process has found the others.

        Args:
            key: the same for all processes of this run, and for no other run.
            rank: the number of this process.
            world: how many there are.
        """
        self._rank = rank
        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = TCPStore(host, port, is_master=False, timeout=_CONNECTION)
        # Process 0 looks at all, the others at process 0: its load grows with their number only.
        others = range(1, world) if rank == 0 else (0,)
        self._others = {other: (b"", time.monotonic()) for other in others}
        self._store = PrefixStore(f"hermnet/{key}", store)

    def stop(self) -> None:
        """Watch no longer."""
        self._stopped.set()
        if threading.current_thread() is not self._thread and self._thread.is_alive():
            self._thread.join(_CONNECTION.total_seconds())

    def report(self, reason: str, code: int = 1) -> None:
        """Let the others know why this process ends."""
        with suppress(RuntimeError):  # there may be nobody left to know
            if self._store is not None and self._reported(self._store) is None:
                self._store.set(_FAILURE, f"{code} {reason}")

    def reason(self, seconds: float) -> tuple[int, str] | None:
        """The exit code of a process that has ended, and why, if that is known in some seconds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = self._dead_child()
            with suppress(RuntimeError):
                found = (self._reported(self._store) if self._store else None) or found
            if found is not None:
                return found
            time.sleep(0.1)
        return None

    def kill_children(self) -> None:
        """End the processes that this one has started."""
        for child in self._children:
            with suppress(OSError):
                child.kill()

    def _run(self) -> None:
        while not self._stopped.wait(_PERIOD):
            found = self._dead_child()
            if found is not None:
                time.sleep(_PERIOD / 2)  # it may be about to say more than its exit code
            try:
                found = (self._look(self._store) if self._store else None) or found
            except RuntimeError as error:
                found = found or (1, f"process 0 has ended without a word ({first_line(error)})")
            if found is not None and not self._stopped.is_set():
                self.end(*found)

    def _dead_child(self) -> _Failure | None:
        for number, child in enumerate(self._children, self._rank + 1):
            code = child.poll()
            if code:
                how = f"with exit code {code}" if code > 0 else f"by {_signal_name(-code)}"
                return 1, f"process {number} was ended {how}"
        return None

    def _look(self, store: Store) -> _Failure | None:
        """Say that this process lives, and see whether others do."""
        self._beats += 1
        store.set(f"beat/{self._rank}", str(self._beats))
        for other, (last, since) in self._others.items():
            key = f"beat/{other}"
            beat = store.get(key) if store.check([key]) else b""
            if beat != last:
                self._others[other] = (beat, time.monotonic())
            elif time.monotonic() - since > _SILENCE:
                return 1, f"process {other} has not been heard of for {_SILENCE:.0f} s"
        return self._reported(store)

    def _reported(self, store: Store) -> _Failure | None:
        if not store.check([_FAILURE]):
            return None
        code, _, reason = store.get(_FAILURE).decode().partition(" ")
        return int(code), reason

    def end(self, code: int, reason: str) -> NoReturn:
        """Say why and end, whatever the rest of this process is waiting for."""
        self.report(reason, code)
        if self._rank == 0 or code != BAD_INPUT:  # which process 0 says for all
            print(f"error: {reason}", file=sys.stderr, flush=True)
        self.kill_children()
        if self._rank == 0:  # it may hold the store that the others read the reason from
            time.sleep(3 * _PERIOD)
        os._exit(code)


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
