"""One process at a time in a run's folder."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import final

from hermnet.errors import InputError
from hermnet.host.atomic import reason


@final
class Lock:
    """A file that one process holds; the operating system lets go when that process ends.

    A killed process leaves the file, which holds nobody up.

    Args:
        path: the file, in a folder that is there.
        instead: what another process can choose instead, for the message.
    """

    def __init__(
        self, path: Path, instead: str = "another folder with trainer.default_root_dir=..."
    ) -> None:
        self.path = path
        self._instead = instead
        self._descriptor: int | None = None

    def check(self) -> None:
        """Look whether another process holds it; nothing is written.

        Raises:
            InputError: if so; it says which one.
        """
        try:
            descriptor = os.open(self.path, os.O_RDONLY)
        except OSError:  # no lock, or a folder that says so when it is written to
            return
        try:
            self._take(descriptor)
        finally:
            os.close(descriptor)

    def acquire(self) -> None:
        """Hold it until `release`, or until the process ends.

        Raises:
            InputError: if another process does, or the folder cannot be written to.
        """
        while self._descriptor is None:
            try:
                descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            except OSError as error:
                raise InputError(f"cannot write to {self.path.parent}: {reason(error)}") from error
            try:
                self._take(descriptor)
            except InputError:
                os.close(descriptor)
                raise
            if self._is(descriptor):
                self._descriptor = descriptor
            else:  # whoever held it before has removed it meanwhile
                os.close(descriptor)
        who = json.dumps({"pid": os.getpid(), "host": socket.gethostname()})
        with suppress(OSError):  # a message for others, no more
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, who.encode(), 0)

    def release(self) -> None:
        """Let go and remove the file; without a lock do nothing."""
        if self._descriptor is not None:
            if self._is(self._descriptor):  # else the folder is gone, or another's by now
                with suppress(OSError):
                    self.path.unlink()
            os.close(self._descriptor)
            self._descriptor = None

    def _take(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"{self.path.parent} is in use by {self._holder()}; wait for it, or choose "
                f"{self._instead}"
            ) from error
        except OSError:  # a file system without locks
            return

    def _is(self, descriptor: int) -> bool:
        try:
            there = os.stat(self.path)
        except OSError:
            return False
        return os.path.samestat(there, os.fstat(descriptor))

    def _holder(self) -> str:
        try:
            who = json.loads(self.path.read_text(encoding="utf-8"))
            return f"process {who['pid']} on {who['host']}"
        except (OSError, ValueError, TypeError, KeyError):
            return "another process"
