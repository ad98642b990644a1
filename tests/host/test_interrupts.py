from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from hermnet.errors import Interrupted
from hermnet.host.interrupts import Interrupts

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_noted(number: int, capfd: pytest.CaptureFixture[str]):
    before = [signal.getsignal(n) for n in SIGNALS]
    interrupts = Interrupts()
    interrupts.watch()
    try:
        assert interrupts.received == 0
        os.kill(os.getpid(), number)
        assert interrupts.received == number
    finally:
        interrupts.leave()
    assert [signal.getsignal(n) for n in SIGNALS] == before
    assert f"{signal.Signals(number).name}: stopping after this step" in capfd.readouterr().err
    assert Interrupted(number, "saved").exit_code == 128 + number


def test_the_second_ends_the_process():
    code = (
        "import os, signal, time; from hermnet.host.interrupts import Interrupts\n"
        "Interrupts().watch()\n"
        "for _ in range(2): os.kill(os.getpid(), signal.SIGTERM)\n"
        "time.sleep(9)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == -signal.SIGTERM


def test_other_threads_leave_signals_alone():
    before = [signal.getsignal(n) for n in SIGNALS]
    thread = threading.Thread(target=Interrupts().watch)
    thread.start()
    thread.join()
    assert [signal.getsignal(n) for n in SIGNALS] == before
