"""Any data as LMDB shards that are read at random, by ASE and others too."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import torch
from rich.progress import Progress

from hermnet.data.aselmdb import HANDLES, SUFFIX, backend
from hermnet.data.files import FileDataModule
from hermnet.data.graphs import GraphSequence
from hermnet.data.shards import FORMAT, Graphs, Shard, write_shard
from hermnet.data.staging import staged
from hermnet.datamodule import GraphDataModule
from hermnet.errors import InputError, at_least, nearest
from hermnet.graph import LABELS

SHARD_SIZE = 50_000


def convert(
    data: GraphDataModule,
    output: Path,
    splits: Sequence[str] | None = None,
    *,
    n_workers: int = 1,
    shard_size: int = SHARD_SIZE,
    overwrite: bool = False,
    progress: bool = False,
) -> dict[str, int]:
    """Write data as ``.aselmdb`` files in eV, A, eV/A, eV/A^3 and e A; scalars as they are.

    Nothing is at `output` before everything is written.

    Args:
        data: where the frames come from.
        output: a folder, which gets a folder for each split with files of `shard_size` frames; or
            a file that ends in ``.aselmdb``, for one split.
        splits: which of the data's splits; None for all.
        n_workers: processes, each of which writes one shard at a time.
        shard_size: frames of a file in a folder.
        overwrite: whether to replace an earlier conversion at `output`.
        progress: whether to show a bar in the terminal.

    Returns:
        Number of frames of each split.

    Raises:
        InputError: for an output that is there, an unknown split, a weight that cannot be kept, or
            a frame that cannot be used; nothing is left behind then.
    """
    backend()
    at_least("n_workers", n_workers, 1)
    at_least("shard_size", shard_size, 1)
    output = output.absolute()
    with staged(output, _is_conversion, overwrite) as stage:
        chosen = _chosen(data.read(), splits)
        shards = _shards(data, chosen, stage / output.name, shard_size)
        _write_all(shards, chosen, n_workers, progress)
        for shard in shards:  # under a name that opens only now
            shard.path.rename(shard.path.with_suffix(SUFFIX))
        HANDLES.close()  # what is replaced may be open
    return {split: len(graphs) for split, graphs in chosen.items()}


def _is_conversion(output: Path) -> bool:
    files = [path for path in output.rglob("*") if not path.is_dir()] if output.is_dir() else []
    return all(path.suffix == SUFFIX for path in files or [output] if not path.is_dir())


def _chosen(read: Mapping[str, Graphs], splits: Sequence[str] | None) -> dict[str, Graphs]:
    there = {split: graphs for split, graphs in read.items() if len(graphs)}
    for split in splits or ():
        if split not in there:
            raise InputError(f"the data have no '{split}' frames; {nearest(split, there)}")
    chosen = {split: there[split] for split in splits or there}
    for split, graphs in chosen.items():
        if isinstance(graphs, GraphSequence) and graphs.weights is not None:
            raise InputError(
                f"the {split} frames have weights, which {SUFFIX} files cannot hold; give them "
                "in the recipe that reads those"
            )
    return chosen


def _shards(
    data: GraphDataModule, chosen: Mapping[str, Graphs], target: Path, size: int
) -> list[Shard]:
    single = target.suffix == SUFFIX
    if single and len(chosen) > 1:
        raise InputError(
            f"{target.name} can hold one split, not {', '.join(chosen)}; choose one, or give a "
            "folder"
        )
    shards = []
    names = data.scalar_names
    units = data.scalar_units or ("",) * len(names)
    for split, graphs in chosen.items():
        labels = (*LABELS, "dipole")
        metadata = {
            **FORMAT,
            "labels": [name for name in labels if getattr(graphs[0], name) is not None],
            "scalars": dict(zip(names, units, strict=True)),
            "split": split,
            "source": _source(data, split),
        }
        folder = target.parent if single else target / split
        folder.mkdir(parents=True, exist_ok=True)
        step = len(graphs) if single else size
        for number, start in enumerate(range(0, len(graphs), step)):
            frames = range(start, min(start + step, len(graphs)))
            path = target if single else folder / f"{number:05d}"
            path = path.with_suffix(".part")
            shards.append(Shard(split, frames, path, metadata, data.masks_labels, names))
    return shards


def _source(data: GraphDataModule, split: str) -> list[str]:
    """The files of a split as the recipe names them, where it names any."""
    if not isinstance(data, FileDataModule):
        return []
    entries = data.entries.get(split, data.entries["train"])
    return [f"{entry.path}::{entry.part}" if entry.part else entry.path for entry in entries]


_source_graphs: Mapping[str, Graphs] = {}  # of a worker process


def _write_all(
    shards: Sequence[Shard], graphs: Mapping[str, Graphs], n_workers: int, progress: bool
) -> None:
    n_workers = min(n_workers, len(shards))
    # Without a thread of its own, since processes are started meanwhile.
    with Progress(disable=not progress, auto_refresh=False) as bar:
        task = bar.add_task("frames", total=sum(len(shard.frames) for shard in shards))
        if n_workers == 1:
            done: Iterable[int] = _serial(shards, graphs)
        else:
            done = _parallel(shards, graphs, n_workers)
        for n_frames in done:
            bar.update(task, advance=n_frames, refresh=True)


def _serial(shards: Sequence[Shard], graphs: Mapping[str, Graphs]) -> Iterator[int]:
    for shard in shards:
        yield from write_shard(shard, graphs[shard.split])


def _parallel(
    shards: Sequence[Shard], graphs: Mapping[str, Graphs], n_workers: int
) -> Iterator[int]:
    with ProcessPoolExecutor(n_workers, initializer=_adopt, initargs=(graphs,)) as pool:
        jobs = [pool.submit(_job, shard) for shard in shards]
        try:
            for job in as_completed(jobs):
                yield job.result()
        except BrokenProcessPool as error:
            raise RuntimeError("a worker process ended; is there enough memory?") from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _adopt(graphs: Mapping[str, Graphs]) -> None:
    global _source_graphs
    _source_graphs = graphs
    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:  # a parent that is killed tells nobody
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _job(shard: Shard) -> int:
    return sum(write_shard(shard, _source_graphs[shard.split]))
