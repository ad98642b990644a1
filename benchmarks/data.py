"""What it takes to read a data set that is larger than memory should be.

A million frames of molecules are made from rMD17, by repeating its frames with small displacements,
and written as LMDB shards by `hermnet.data.conversion.convert`. Then DataLoader workers read random
batches of them through the data module `ase_db`, neighbor lists included, while this process only
takes the batches.

    python benchmarks/data.py --root rmd17
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from measure import machine, parser, write

from hermnet.data.aselmdb import LmdbFrames
from hermnet.data.conversion import convert
from hermnet.data.graphs import GraphSequence
from hermnet.datamodule import GraphDataModule
from hermnet.datamodules.ase_db import AseDb
from hermnet.datamodules.rmd17 import RMD17
from hermnet.graph import AtomicGraph

MOLECULE = "aspirin"  # 21 atoms
DISPLACEMENT = 0.01  # A
MIB = 1 << 20
N_WINDOWS = 20  # of time; the best one shows what a machine does that is left alone meanwhile


class Repeated(GraphSequence):
    """Graphs again and again, each time with other displacements, that its index fixes."""

    def __init__(self, graphs: list[AtomicGraph], n_frames: int) -> None:
        super().__init__()
        self.originals = graphs
        self.n_frames = n_frames

    def __len__(self) -> int:
        return self.n_frames

    @property
    def in_memory(self) -> bool:
        """See `GraphSequence.in_memory`."""
        return False

    def at(self, index: int) -> AtomicGraph:
        """See `GraphSequence.at`."""
        graph = self.originals[index % len(self.originals)]
        moves = np.random.default_rng(index).normal(scale=DISPLACEMENT, size=graph.positions.shape)
        return replace(graph, positions=graph.positions + torch.from_numpy(moves))


class Rattled(GraphDataModule):
    """As many training frames as wanted."""

    def __init__(self, root: str, n_frames: int) -> None:
        super().__init__()
        self.root = root
        self.n_frames = n_frames

    def read(self) -> Mapping[str, GraphSequence]:
        """See `GraphDataModule.read`."""
        source = RMD17(molecule=MOLECULE, root=self.root, n_train=1000, n_val=0, n_test=0)
        return {"train": Repeated(source.read()["train"], self.n_frames)}


def memory(process: int | str) -> dict[str, float]:
    """MiB that a process has resident; pages of the files that it maps count among them.

    ``rss`` counts a page in each process that maps it, ``pss`` divides it among them, ``own`` are
    the pages that belong to no file.
    """
    path = Path(f"/proc/{process}/smaps_rollup")
    pairs = [line.split(":") for line in path.read_text().splitlines() if line.endswith("kB")]
    sizes = {key: int(value.split()[0]) * 1024 / MIB for key, value in pairs}
    found = {"rss": sizes["Rss"], "pss": sizes["Pss"]}
    return found | ({"own": sizes["Pss_Anon"]} if "Pss_Anon" in sizes else {})


def cpu_seconds(process: int) -> float:
    """Time on the processor, of the program and of the system for it."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def read_batches(shards: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Frames per second and memory of the workers, after the first batches."""
    data = AseDb(
        train=str(shards / "train"),
        batch_size=arguments.batch_size,
        num_workers=arguments.workers,
    )
    data.set_cutoff(arguments.cutoff)
    batches = iter(data.train_dataloader())
    workers = [worker.pid for worker in getattr(batches, "_workers", [])] or [os.getpid()]
    n_batches = min(len(data.graphs("train")) // arguments.batch_size, arguments.batches)
    window = max(1, n_batches // (N_WINDOWS + 1))
    edges = [next(batches).n_edges for _ in range(window)]  # the first does not count
    seconds, cpu = [], []
    for _ in range(N_WINDOWS):
        start, start_cpu = time.perf_counter(), sum(map(cpu_seconds, workers))
        edges += [next(batches).n_edges for _ in range(window)]
        seconds.append(time.perf_counter() - start)
        cpu.append(sum(map(cpu_seconds, workers)) - start_cpu)
    n_frames = window * arguments.batch_size  # of a window
    return {
        "frames": N_WINDOWS * n_frames,
        "frames_per_second": N_WINDOWS * n_frames / sum(seconds),
        "frames_per_second_of_best_window": n_frames / min(seconds),
        "cpu_us_per_frame": 1e6 * sum(cpu) / (N_WINDOWS * n_frames),
        "cpu_us_per_frame_of_best_window": 1e6 * min(cpu) / n_frames,
        "edges_per_frame": sum(edges) / len(edges) / arguments.batch_size,
        "load_of_machine": os.getloadavg()[0],
        "memory_of_workers": [memory(worker) for worker in workers],
        "memory_of_receiving_process": memory("self"),
    }


def latency(shards: Path, n_reads: int) -> dict[str, float]:
    """Microseconds from an index to a frame."""
    frames = [LmdbFrames(path) for path in sorted((shards / "train").iterdir())]
    rng = np.random.default_rng(0)
    times = []
    for _ in range(n_reads):
        part = frames[rng.integers(len(frames))]
        index = int(rng.integers(len(part)))
        start = time.perf_counter()
        part[index]
        times.append(1e6 * (time.perf_counter() - start))
    return {"median": median(times), "p99": float(np.quantile(times, 0.99))}


def measure(arguments: argparse.Namespace, folder: str) -> dict[str, Any]:
    """All figures, with the shards in a folder."""
    shards = Path(folder) / "shards"
    start = time.perf_counter()
    convert(
        Rattled(arguments.root, arguments.frames),
        shards,
        n_workers=arguments.workers or 1,
        shard_size=max(1, min(50_000, arguments.frames // 2)),
        progress=True,
    )
    seconds = time.perf_counter() - start
    size = sum(path.stat().st_size for path in shards.rglob("*.aselmdb"))
    return {
        "writing": {
            "frames_per_second": arguments.frames / seconds,
            "seconds": seconds,
            "MiB": size / MIB,
        },
        "reading": read_batches(shards, arguments),
        "latency_us": latency(shards, min(arguments.frames, 10_000)),
    }


def main() -> None:
    """Print and save the figures."""
    options = parser("Frames per second from LMDB shards, with neighbor lists.")
    options.add_argument("--root", required=True, help="folder with rmd17_aspirin_train_01.npz")
    options.add_argument("--frames", type=int, default=1_000_000, help="to make (1000000)")
    options.add_argument("--batches", type=int, default=6000, help="to read (6000)")
    options.add_argument("--batch-size", type=int, default=32, help="frames of a batch (32)")
    options.add_argument("--workers", type=int, default=2, help="processes that read (2)")
    options.add_argument("--cutoff", type=float, default=5.0, help="A (5)")
    options.add_argument("--folder", help="where the shards lie meanwhile (a temporary folder)")
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        found = measure(arguments, folder)
    names = ("frames", "batches", "batch_size", "workers", "cutoff")
    about = {name: getattr(arguments, name) for name in names}
    about["cores"] = len(os.sched_getaffinity(0))
    about["machine"] = machine(arguments.threads, torch.device("cpu"))
    write(arguments.output, "data", {**about, **found})
    reading, latency_us = found["reading"], found["latency_us"]
    print(f"written: {found['writing']['frames_per_second']:.0f} frames/s")
    print(
        f"read with neighbors: {reading['frames_per_second']:.0f} frames/s "
        f"(best window {reading['frames_per_second_of_best_window']:.0f}), "
        f"{reading['cpu_us_per_frame']:.0f} us of a worker's processor per frame "
        f"(best window {reading['cpu_us_per_frame_of_best_window']:.0f}), "
        f"load of the machine {reading['load_of_machine']:.1f}"
    )
    for worker in reading["memory_of_workers"]:
        print("worker: " + ", ".join(f"{name} {size:.0f} MiB" for name, size in worker.items()))
    print(f"one frame: {latency_us['median']:.0f} us (p99 {latency_us['p99']:.0f} us)")


if __name__ == "__main__":
    main()
