"""Shards: graphs of one structure each as an LMDB file that ASE reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase.db.core import now

from hermnet.data.aselmdb import backend
from hermnet.data.rows import encode, row_of
from hermnet.data.validity import check_values, refuse
from hermnet.graph import AtomicGraph

# What the metadata of every shard say; a reader may rely on the units.
FORMAT = {
    "format": "hermnet",
    "format_version": 1,
    "units": {"length": "A", "energy": "eV", "forces": "eV/A", "stress": "eV/A^3", "dipole": "e A"},
}
_LARGEST = 1 << 40  # bytes of a shard; no more than what is written is taken up
_AT_ONCE = 1000  # rows of a transaction, so that few wait in memory

Graphs = Sequence[AtomicGraph]


@dataclass(frozen=True)
class Shard:
    """Some frames of a split and the file that they go to."""

    split: str
    frames: range
    path: Path
    metadata: Mapping[str, Any]
    masked: bool  # whether a label may be NaN throughout a frame, for missing
    scalars: tuple[str, ...] = ()  # names of the graphs' scalars


def write_shard(shard: Shard, graphs: Graphs) -> Iterator[int]:
    """Write one file, flushed to the disk at the end; yields how many rows were written each time.

    Raises:
        InputError: for a frame that cannot be used.
    """
    time = now()
    with backend().open(
        str(shard.path), subdir=False, map_size=_LARGEST, lock=False, sync=False, metasync=False
    ) as environment:
        # In the order of the keys, so that pages are filled one after the other.
        ids = sorted(range(1, len(shard.frames) + 1), key=str)
        for start in range(0, len(ids), _AT_ONCE):
            some = ids[start : start + _AT_ONCE]
            with environment.begin(write=True) as transaction:
                for place in some:
                    row = _row(shard, graphs, place, time)
                    transaction.put(str(place).encode("ascii"), encode(row), append=True)
            yield len(some)
        with environment.begin(write=True) as transaction:
            for key, value in (
                ("nextid", len(ids) + 1),
                ("deleted_ids", []),
                ("metadata", dict(shard.metadata)),
            ):
                transaction.put(key.encode("ascii"), encode(value))
        environment.sync(True)


def _row(shard: Shard, graphs: Graphs, place: int, time: float) -> dict[str, Any]:
    index = shard.frames[place - 1]
    graph = graphs[index]
    refuse(check_values(graph, f"{shard.split} frame {index}", shard.masked))
    return row_of(graph, f"{shard.split}-{index}", time, shard.scalars)
