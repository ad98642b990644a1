"""Signals that ask a run to stop: it stops where it can be saved."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any, final

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@final
class Interrupts:
    """Takes note of the first signal; the second ends the process at once.

    Attributes:
        received: number of the signal; 0 for none.
    """

    def __init__(self) -> None:
        self.received = 0
        self._before: dict[int, Any] = {}

    def watch(self) -> None:
        """Handle SIGINT and SIGTERM from now on; outside the main thread that is not possible."""
        self.received = 0
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in _SIGNALS}

    def leave(self) -> None:
        """Give the signals back to whoever handled them before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _handle(self, number: int, _: FrameType | None) -> None:
        if self.received:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self.received = number
        name = signal.Signals(number).name
        # print is not safe here: the signal may have come in the middle of another one
        os.write(2, f"{name}: stopping after this step (again: at once, unsaved)\n".encode())


def leave_signals_to_the_run(_: int) -> None:
    """In a process that reads data: a signal to all must not take away what comes before a save."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
