"""Strong and weak scaling of training over processes of this machine, with gloo.

A training step of PaiNN on ethanols: with the same frames shared by more processes (strong), and
with as many frames for each process (weak). What a step takes without speaking to the others is
compute, the rest is communication: sums of gradients and counts, and waiting for the slowest.

    python benchmarks/scaling.py --processes 1 2 4
"""

from __future__ import annotations

import json
import os
import socket
import tempfile
import time
import warnings
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from typing import Any

import torch
from measure import adamw, machine, parser, write
from torch import distributed, multiprocessing
from torch.nn.parallel import DistributedDataParallel

from hermnet.datamodule import DATAMODULES
from hermnet.graph import AtomicGraph, collate
from hermnet.host.processes import added_up
from hermnet.model_options import ModelOptions
from hermnet.potential import Potential
from hermnet.statistics import Statistics
from hermnet.training.losses import loss_function, loss_terms

_WARM_UP = 3  # steps


class Trainer:
    """One process's part of a training step.

    Args:
        frames: of this process.
    """

    def __init__(self, frames: list[AtomicGraph]) -> None:
        torch.manual_seed(0)
        facts = Statistics.from_graphs(frames)
        options = ModelOptions(subnet="painn", relations="vertex", n_channels=64, n_layers=3)
        self.potential = Potential(options, facts.elements, facts.mean_neighbors)
        self.potential.set_reference(facts.reference, facts.scale)
        self.shared = DistributedDataParallel(self.potential)
        self.optimizer = adamw(self.potential)
        self.graph = collate(frames)

    def step(self, together: bool) -> tuple[float, float]:
        """Seconds of a step, passed and of the processor, with the others or as if alone."""
        distributed.barrier()
        start, worked = time.perf_counter(), time.process_time()
        with nullcontext() if together else self.shared.no_sync():
            prediction = self.shared(self.graph)
            terms = loss_terms(prediction, self.graph, loss_function("l2", 0.01))
            counts = torch.stack([terms[name].count for name in ("energy", "forces")])
            energy, forces = added_up(counts) if together else counts
            loss = terms["energy"].total / energy + 100.0 * terms["forces"].total / forces
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        return time.perf_counter() - start, time.process_time() - worked


def worker(rank: int, world: int, port: int, arguments: dict[str, Any]) -> None:
    """Time the steps of this process; the first writes the medians."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(arguments["threads"])
    warnings.filterwarnings("ignore", message="Grad strides do not match")
    distributed.init_process_group("gloo", rank=rank, world_size=world)
    data = DATAMODULES.get("rmd17")(n_train=arguments["frames"], n_val=0)  # type: ignore[call-arg]  # its own
    data.set_cutoff(5.0)
    data.setup()
    frames = list(data.graphs("train"))
    found = {}
    for kind, own in {"strong": frames[rank::world], "weak": frames}.items():
        trainer = Trainer(own)
        times: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
        for index in range(_WARM_UP + arguments["rounds"]):
            for together in (True, False):
                seconds = trainer.step(together)
                if index >= _WARM_UP:
                    times[together].append(seconds)
        step, compute = (median(passed for passed, _ in times[k]) for k in (True, False))
        found[kind] = {
            "frames": len(own),
            "step": step,
            "compute": compute,
            "communication": max(0.0, step - compute),
            "processor": median(worked for _, worked in times[True]),
        }
    if rank == 0:
        Path(arguments["output"]).write_text(json.dumps(found), encoding="utf-8")
    distributed.destroy_process_group()


def measure(world: int, frames: int, rounds: int, threads: int) -> dict[str, Any]:
    """Medians of both kinds of scaling with a number of processes."""
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port = trial.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "found.json"
        arguments = {"frames": frames, "rounds": rounds, "threads": threads, "output": str(output)}
        multiprocessing.spawn(worker, (world, port, arguments), nprocs=world)
        found: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
    return found


def main() -> None:
    """Measure, print, save."""
    options = parser("Strong and weak scaling of training over processes of this machine.")
    options.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    options.add_argument("--frames", type=int, default=16, help="of a step in one process (16)")
    given = options.parse_args()
    found = {
        n: measure(n, given.frames, given.rounds, given.threads)
        for n in sorted({1, *given.processes})
    }
    for n, by_kind in found.items():
        for kind, row in by_kind.items():
            share = n if kind == "strong" else 1
            row["efficiency"] = found[1][kind]["step"] / share / row["step"]
            row["processor_efficiency"] = found[1][kind]["processor"] / share / row["processor"]
    about = machine(given.threads, torch.device("cpu"))
    settings = {"frames": given.frames, "rounds": given.rounds, "machine": about}
    write(given.output, "scaling", {**settings, "load": os.getloadavg(), "processes": found})
    print(f"{about['cores']} cores, load {os.getloadavg()[0]:.1f}")
    print(
        "| scaling | processes | frames each | step, ms | compute | communication | efficiency "
        "| of processor time |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for kind in ("strong", "weak"):
        for n, by_kind in found.items():
            row = by_kind[kind]
            times = " | ".join(f"{1e3 * row[k]:.0f}" for k in ("step", "compute", "communication"))
            rates = f"{row['efficiency']:.2f} | {row['processor_efficiency']:.2f}"
            print(f"| {kind} | {n} | {row['frames']} | {times} | {rates} |")


if __name__ == "__main__":
    main()
