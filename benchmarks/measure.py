"""What every benchmark shares: options, fair timing, the machine's description, result files."""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from hermnet.graph import AtomicGraph
from hermnet.potential import Potential
from hermnet.recipes.class_path import build
from hermnet.training.losses import loss_function, loss_terms
from hermnet.training.options import TrainingOptions

_WARM_UP = 2  # calls of each action before anything counts
_PACKAGES = ("hermnet", "torch", "numpy", "ase", "e3nn", "vesin")


def parser(description: str) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--threads", type=int, default=1, help="threads of torch (1)")
    options.add_argument("--rounds", type=int, default=20, help="repetitions of each action (20)")
    options.add_argument("--device", default="cpu", help="cpu, cuda, ... (cpu)")
    options.add_argument(
        "--clock",
        choices=("wall", "process"),
        default="wall",
        help="process counts the CPU time of this process, for a machine that is busy (wall)",
    )
    options.add_argument("--output", type=Path, help="JSON file (in benchmarks/results)")
    return options


@dataclass(frozen=True)
class Stopwatch:
    """Times actions in turn, so that whatever else the machine does meets all of them alike.

    Attributes:
        rounds: how often each action is timed.
        clock: ``wall`` or ``process``.
        device: where the actions run.
    """

    rounds: int
    clock: str
    device: torch.device

    def alternate(self, actions: Mapping[str, Callable[[], object]]) -> dict[str, list[float]]:
        """Seconds of each action in each round; every round begins with another action."""
        for action in actions.values():
            for _ in range(_WARM_UP):
                action()
        times: dict[str, list[float]] = {name: [] for name in actions}
        names = list(actions)
        for index in range(self.rounds):
            first = index % len(names)
            for name in names[first:] + names[:first]:
                times[name].append(self._time(actions[name]))
        return times

    def _time(self, action: Callable[[], object]) -> float:
        now = time.perf_counter if self.clock == "wall" else time.process_time
        self._wait()
        start = now()
        action()
        self._wait()
        return now() - start

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def median_ratio(times: Sequence[float], reference: Sequence[float]) -> float:
    """The median over rounds of the ratio within a round."""
    return median(a / b for a, b in zip(times, reference, strict=True))


def adamw(potential: Potential) -> torch.optim.Optimizer:
    """The optimizer that recipes have by default."""
    return build(TrainingOptions().optimizer, torch.optim.Optimizer, potential.parameters())


def training_step(
    potential: Potential, graph: AtomicGraph, optimizer: torch.optim.Optimizer
) -> Callable[[], Tensor]:
    """One step on energies and forces as an action: double backward and optimizer included."""
    function = loss_function("l2", 0.01)
    parameters = list(potential.parameters())

    def step() -> Tensor:
        terms = loss_terms(potential(graph), graph, function)
        energy, forces = (terms[name].total / terms[name].count for name in ("energy", "forces"))
        loss = energy + 100.0 * forces
        optimizer.zero_grad()
        loss.backward(inputs=parameters)  # type: ignore[no-untyped-call]  # as in training
        optimizer.step()
        return loss.detach()

    return step


def inference(potential: Potential, graph: AtomicGraph) -> Callable[[], object]:
    """Energies and forces as an action."""

    def predict() -> object:
        with torch.no_grad():
            return potential(graph)

    return predict


def ceilings(device: torch.device, clock: str = "wall") -> dict[str, float]:
    """What the machine can do at best, as it is at the moment.

    Returns:
        ``copy``, bytes read and written per second by a copy of 256 MB, and ``matmul``, operations
        per second of a product of two float32 matrices of 1024 rows and columns.
    """
    source = torch.randn(32 * 1024 * 1024, device=device)
    target = torch.empty_like(source)
    square = torch.randn(1024, 1024, device=device)
    actions = {"copy": lambda: target.copy_(source), "matmul": lambda: square @ square}
    times = Stopwatch(5, clock, device).alternate(actions)
    amounts = {"copy": 2 * source.nbytes, "matmul": 2 * 1024**3}
    return {name: amounts[name] / median(values) for name, values in times.items()}


def machine(threads: int, device: torch.device) -> dict[str, Any]:
    """What ran the benchmark: processor, threads, device, versions."""
    found = {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "threads": threads,
        "device": str(device),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in _PACKAGES},
    }
    if device.type == "cuda":
        found["gpu"] = torch.cuda.get_device_name(device)
    return found


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def write(path: Path | None, name: str, content: Mapping[str, Any]) -> None:
    """Save results as JSON, in ``benchmarks/results/<name>.json`` unless a path is given."""
    path = path or Path(__file__).parent / "results" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(f"written: {path}")
