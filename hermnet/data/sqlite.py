"""Frames of ASE's SQLite databases, read at random by many processes."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final
from urllib.parse import quote

import numpy as np
from ase.db.core import bytes_to_object
from ase.db.core import connect as ase_connect
from ase.io.jsonio import decode as ase_decode
from numpy.typing import NDArray

from hermnet.data.fingerprint import FileStamp
from hermnet.data.frames import Frame, Frames
from hermnet.data.rows import frame_of
from hermnet.errors import InputError

Array = NDArray[Any]

SUFFIX = ".db"
_PATIENCE = 20.0  # seconds to wait for a lock, as in ASE
# Columns and their arrays; a label of atoms that is not a vector has one number for each.
_NUMBERS = ("energy", "free_energy", "magmom")
_ARRAYS = ("forces", "stress", "dipole", "magmoms", "charges", "initial_charges")
_COLUMNS = ("numbers", "positions", "cell", "pbc", "key_value_pairs", "data", *_NUMBERS, *_ARRAYS)


@final
class SqliteFrames(Frames):
    """The rows of one file, in the order of their ids. Can be pickled; connections stay behind.

    Args:
        path: the file.
        selection: of ASE, such as ``natoms<50``; empty for all rows.

    Raises:
        InputError: if it cannot be read, is locked, is no ASE database, or nothing is selected.
    """

    def __init__(self, path: Path, selection: str = "") -> None:
        self.path = path
        self._connections: dict[tuple[int, int], sqlite3.Connection] = {}
        self._selection = selection
        with _readable(path):
            self._stamp = FileStamp.of(path)
            ids = self._query("SELECT id FROM systems ORDER BY id")
            told = self._query("SELECT value FROM information WHERE name='metadata'")
        self._ids = np.array([row[0] for row in ids], dtype=np.int64)
        self.metadata = _metadata(path, told[0][0]) if told else {}
        if selection:
            self._ids = _select(path, selection)
        if len(self._ids) == 0:
            raise InputError(f"{path} holds no rows{f' with {selection}' if selection else ''}")

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_connections": {}}

    def __del__(self) -> None:
        for (process, _), connection in self._connections.items():
            if process == os.getpid():  # what the parent opened is the parent's
                connection.close()

    def _query(self, statement: str, *values: int) -> list[tuple[Any, ...]]:
        # Of this process and thread: SQLite's connections can be taken to no other.
        key = os.getpid(), threading.get_ident()
        if key not in self._connections:
            self._connections[key] = sqlite3.connect(
                f"file:{quote(str(self.path.resolve()))}?mode=ro",
                uri=True,
                timeout=_PATIENCE,
                check_same_thread=False,  # for closing
            )
        return self._connections[key].execute(statement, values).fetchall()

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, index: int) -> Frame:
        place = int(self._ids[index])
        name = f"{self.path}, row {place}"
        with _readable(self.path):
            rows = self._query(f"SELECT {', '.join(_COLUMNS)} FROM systems WHERE id=?", place)
        if not rows:
            raise InputError(f"{name} is missing")
        try:
            row = _decoded(dict(zip(_COLUMNS, rows[0], strict=True)))
        except (ValueError, TypeError, KeyError, AssertionError) as error:
            raise InputError(f"{name} is damaged: {error}") from error
        return frame_of(row, name)

    def places(self, ids: Array) -> list[int]:
        """Where rows are among the frames.

        Args:
            ids: (n,) of the rows, as the database counts them.

        Raises:
            InputError: for a row that is not there.
        """
        found = np.searchsorted(self._ids, ids).clip(max=len(self._ids) - 1)
        strangers = ids[self._ids[found] != ids]
        if len(strangers):
            raise InputError(f"{self.path}, row {strangers[0]} is missing")
        places: list[int] = found.tolist()
        return places

    def fingerprint(self) -> str | None:
        """See `Frames.fingerprint`."""
        return self._stamp.fingerprint("ase_db", self._selection)

    @property
    def in_memory(self) -> bool:
        """See `Frames.in_memory`."""
        return False


def _metadata(path: Path, text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InputError(f"{path}: its metadata are no JSON: {error}") from error
    return found if isinstance(found, dict) else {}


def _decoded(columns: dict[str, Any]) -> dict[str, Any]:
    """A row of the table with its arrays, without what is empty."""
    row = {name: columns[name] for name in _NUMBERS if columns[name] is not None}
    for name in ("positions", "cell", *_ARRAYS):
        if columns[name] is not None:
            row[name] = np.frombuffer(columns[name], "<f8")
    row["numbers"] = np.frombuffer(columns["numbers"], "<i4")
    row["positions"] = row["positions"].reshape(-1, 3)
    row["pbc"] = [bool(columns["pbc"] & bit) for bit in (1, 2, 4)]
    for name in ("key_value_pairs", "data"):
        text = columns[name]
        row[name] = bytes_to_object(text) if isinstance(text, bytes) else ase_decode(text)
    return row


def _select(path: Path, selection: str) -> Any:
    # ASE's parser raises whatever its parts happen to raise.
    try:
        with ase_connect(path, use_lock_file=False) as database:
            found = [row.id for row in database.select(selection, columns=["id"])]
    except Exception as error:
        raise InputError(f"{path}::{selection}: ASE cannot select that: {error}") from error
    return np.array(sorted(found), dtype=np.int64)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise InputError(f"cannot read {path} as an ASE database: {error}") from error
