"""Frames of ASE's LMDB databases, read at random by many processes.

Read with the package lmdb itself: ase-db-backends holds the list of all ids in memory, and reads
from a file that is cut off, which ends the process.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, final

import numpy as np

from hermnet.data.fingerprint import FileStamp
from hermnet.data.frames import Frame, Frames
from hermnet.data.rows import decode, frame_of
from hermnet.errors import InputError

SUFFIX = ".aselmdb"
_N_OPEN = 256  # files; fewer than a process may have open, more than most data sets have shards


def backend() -> Any:
    """The package lmdb.

    Raises:
        InputError: if what .aselmdb files need is not installed; it says how to install it.
    """
    for name in ("lmdb", "orjson"):
        try:
            import_module(name)
        except ImportError as error:
            raise InputError(
                f"{SUFFIX} files need the packages ase-db-backends and orjson ({name} is missing): "
                'pip install "hermnet[lmdb]"'
            ) from error
    return import_module("lmdb")


@final
class Handles:
    """The files that this process has open; LMDB allows each but once per process.

    Args:
        limit: how many; the one that was used longest ago is closed for another.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: OrderedDict[str, Any] = OrderedDict()

    def get(self, path: str) -> Any:
        """The environment of a file that `LmdbFrames` has looked at."""
        if path in self._open:
            self._open.move_to_end(path)
            return self._open[path]
        while len(self._open) >= self._limit:
            self._open.popitem(last=False)[1].close()
        # Nothing is written, so there is nothing to lock; random access gains from no read-ahead.
        environment = backend().open(
            path, subdir=False, readonly=True, lock=False, readahead=False, max_readers=1
        )
        self._open[path] = environment
        return environment

    def close(self) -> None:
        """Close all of them; they open again when they are read again."""
        while self._open:
            self._open.popitem()[1].close()


HANDLES = Handles(_N_OPEN)
# A child must not use what its parent opened, nor can it open the same file beside that.
os.register_at_fork(after_in_child=HANDLES.close)


@final
class LmdbFrames(Frames):
    """The rows of one file, in the order of their ids. Holds no open file, so it can be pickled.

    Args:
        path: the file.

    Raises:
        InputError: if it cannot be read, is cut off, or has no rows.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = str(path.resolve())
        with _readable(path):
            self._stamp = FileStamp.of(path)
        with _readable(path):
            environment = HANDLES.get(self._file)
            expected = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
        size = path.stat().st_size
        if size < expected:  # reading beyond the end would end the process
            HANDLES.close()
            raise InputError(f"{path} is cut off: it has {size} bytes of {expected}")
        last = self._value("nextid", 1) - 1
        deleted = np.array(sorted(self._value("deleted_ids", [])), dtype=np.int64)
        self._n_frames = int(last - len(deleted))
        # How many ids come before each gap; from it follows the id of any row.
        self._gaps = deleted - np.arange(len(deleted))
        if self._n_frames < 1:
            raise InputError(f"{path} holds no rows of an ASE database")
        metadata = self._value("metadata", {})
        self.metadata: dict[str, Any] = metadata if isinstance(metadata, dict) else {}

    def _value(self, key: str, default: Any) -> Any:
        blob = self._blob(key)
        try:
            return default if blob is None else decode(blob)
        except InputError as error:
            raise InputError(f"{self.path}, {key}: {error}") from error

    def _blob(self, key: str) -> bytes | None:
        with _readable(self.path), HANDLES.get(self._file).begin() as transaction:
            found: bytes | None = transaction.get(key.encode("ascii"))
        return found

    def __len__(self) -> int:
        return self._n_frames

    def __getitem__(self, index: int) -> Frame:
        place = index + 1
        if len(self._gaps):
            place += int(np.searchsorted(self._gaps, place, side="right"))
        name = f"{self.path}, row {place}"
        blob = self._blob(str(place))
        if blob is None:
            raise InputError(f"{name} is missing")
        try:
            row = decode(blob)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
        return frame_of(row, name)

    def fingerprint(self) -> str | None:
        """See `Frames.fingerprint`."""
        return self._stamp.fingerprint("aselmdb")

    @property
    def in_memory(self) -> bool:
        """See `Frames.in_memory`."""
        return False


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    lmdb = backend()
    try:
        yield
    except (lmdb.Error, OSError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
