"""Facts that took long to gather, kept on disk for the next run."""

from __future__ import annotations

import time
import zlib
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

import hermnet
from hermnet.data.facts import Facts
from hermnet.data.fingerprint import digest
from hermnet.data.gathering import gather
from hermnet.data.graphs import GraphSequence
from hermnet.data.npz import write_npz
from hermnet.host.caches import cache_folder

_FORMAT = 2  # to be raised whenever the same frames give other facts, or are stored otherwise
_LONG = 1.0  # seconds that are worth a file even for frames in memory
_KEPT = 100  # files; the ones not used for longest go


def facts_of(graphs: GraphSequence, num_workers: int = 0, what: str = "frames") -> Facts:
    """The facts of frames, from disk where they have been gathered before.

    They are kept for frames that are not in memory, or that took more than a second: looking at
    small sets again is faster than reading a file. Frames without a fingerprint are never kept.

    Args:
        graphs: frames with neighbor lists; at least one.
        num_workers: processes that read frames which are not in memory.
        what: they are, for the progress bar.

    Raises:
        InputError: for a frame that cannot be used.
    """
    fingerprint = graphs.fingerprint()
    path = None if fingerprint is None else cache_folder() / f"{_key(fingerprint)}.npz"
    found = None if path is None else _load(path, len(graphs))
    if found is not None:
        return found
    start = time.perf_counter()
    facts = gather(graphs, 0 if graphs.in_memory else num_workers, what)
    worth = not graphs.in_memory or time.perf_counter() - start > _LONG
    # What changed under way has been read in part before and in part after.
    if path is not None and worth and graphs.fingerprint() == fingerprint:
        with suppress(OSError):  # a folder that cannot be written costs the next run a pass
            _store(path, facts)
    return facts


def _key(fingerprint: str) -> str:
    """The frames, and everything that makes facts of them."""
    return digest(
        fingerprint, str(_FORMAT), hermnet.__version__, version("vesin"), version("numpy")
    )


def _load(path: Path, n_frames: int) -> Facts | None:
    """The stored facts; None where there are none, or a file that is damaged."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            facts = Facts.from_arrays({name: file[name] for name in file.files})
        if facts.n_frames != n_frames:
            return None
        path.touch()  # used last
    except (OSError, EOFError, ValueError, TypeError, KeyError, BadZipFile, zlib.error):
        return None
    return facts


def _store(path: Path, facts: Facts) -> None:
    write_npz(path, facts.arrays())
    by_use = sorted(path.parent.glob("*.npz"), key=lambda file: file.stat().st_mtime_ns)
    for file in by_use[:-_KEPT]:
        file.unlink(missing_ok=True)
