"""One contender in a process of its own, which answers requests line by line.

    python serve.py schnetpack      # in the environment that has the package

Every request is a JSON object on a line of standard input, every answer one on standard output
(`hermnet` code is not imported here, but for the contender of that name):

    {"do": "load", "file": "case.npz", "model": {...}}    {"parameters": 589825}
    {"do": "run", "task": "training step", "times": 3}    {"wall": [...], "process": [...]}
    {"do": "memory", "task": "energy+forces"}             {"bytes": 81788928}
    {"do": "count", "task": "energy+forces"}              {"flops": 1.2e9, "bytes": 3.4e8, ...}

What cannot be done is answered by ``{"error": "..."}``. The loss, the optimizer and the labels are
the same for all; how a model is built and called stands in ``of_<name>.py``.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import sys
import time
import traceback
import warnings
from pathlib import Path

import numpy as np
import torch
from counting import Traffic

_DEFAULT = 128 * 1024  # bytes, of glibc


class Contender:
    """A model on a structure, and what can be measured of it."""

    def __init__(self, package: str, file: str, model: dict, device: str) -> None:
        self.device = torch.device(device)
        with np.load(file) as arrays:
            self.arrays = {name: arrays[name] for name in arrays.files}
        torch.manual_seed(0)
        self.model = importlib.import_module(f"of_{package}").build(self.arrays, model, self.device)
        tensors = {name: torch.from_numpy(value) for name, value in self.arrays.items()}
        self.n_atoms = torch.bincount(tensors["batch"]).to(self.device)
        self.energy = tensors["energy"].to(self.device) / self.n_atoms
        self.forces = tensors["forces"].to(self.device)
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.n_parameters = sum(p.numel() for p in parameters)
        self.optimizer = torch.optim.AdamW(parameters, lr=1e-3, fused=True)
        self.tasks = {"training step": self.train, "energy+forces": self.predict}

    def train(self) -> None:
        """A step on energies and forces: double backward and optimizer included."""
        energy, forces = self.model(training=True)
        off = (energy / self.n_atoms - self.energy).square().mean()
        loss = off + 100.0 * (forces - self.forces.to(forces.dtype)).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def predict(self) -> None:
        """Energies and forces."""
        self.model(training=False)

    def run(self, task: str, times: int) -> dict:
        """Seconds of each call, passed and of this process's threads."""
        wall, process = [], []
        for _ in range(times):
            self._wait()
            start, worked = time.perf_counter(), time.process_time()
            self.tasks[task]()
            self._wait()
            wall.append(time.perf_counter() - start)
            process.append(time.process_time() - worked)
        return {"wall": wall, "process": process}

    def memory(self, task: str) -> dict:
        """By how much a call raises what is held before it, at its peak."""
        self.tasks[task]()
        if self.device.type == "cuda":
            self._wait()
            before = torch.cuda.memory_allocated(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
            self.tasks[task]()
            self._wait()
            return {"bytes": torch.cuda.max_memory_allocated(self.device) - before}
        self.optimizer.zero_grad()
        keep_freed_memory(_DEFAULT)
        ctypes.CDLL(None).malloc_trim(0)  # what is free now goes back to the system
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
        before = _status("VmRSS")
        self.tasks[task]()
        found = {"bytes": _status("VmHWM") - before}
        keep_freed_memory()
        return found

    def count(self, task: str) -> dict:
        """Operations of matrix products, and bytes that all operators read and write."""
        with self.model.eagerly(), Traffic(self.model.formulas()) as traffic:
            self.tasks[task]()
        return {
            "flops": traffic.flops,
            "bytes": traffic.bytes,
            "calls": traffic.calls,
            "looks": traffic.looks,
        }

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def keep_freed_memory(limit: int = 2**31 - 1) -> None:
    """Let freed memory up to a size stay with the process (glibc), the same for all contenders.

    By default every large tensor costs fresh pages of the system, which `hermnet fit` avoids too.
    """
    library = ctypes.CDLL(None)
    for option in (-1, -3):  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
        library.mallopt(option, limit)


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return 1024 * int(line.split()[1])
    raise RuntimeError(f"the system does not tell {key}")


def answer(request: dict, package: str, held: dict[str, Contender]) -> dict:
    """Do what a request says."""
    todo = request.pop("do")
    if todo == "load":
        torch.set_num_threads(request.get("threads", 1))
        keep_freed_memory()
        device = request.get("device", "cpu")
        held["it"] = Contender(package, request["file"], request["model"], device)
        return {"parameters": held["it"].n_parameters, "torch": torch.__version__}
    return getattr(held["it"], {"run": "run", "memory": "memory", "count": "count"}[todo])(
        **request
    )


def main() -> None:
    """Answer until the other side closes."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what packages print is no answer
    warnings.simplefilter("ignore")
    held: dict[str, Contender] = {}
    for line in sys.stdin:
        try:
            with contextlib.redirect_stdout(sys.stderr):
                found = answer(json.loads(line), sys.argv[1], held)
        except Exception as error:  # the other side decides what to do
            traceback.print_exc()
            found = {"error": f"{type(error).__name__}: {error}".strip().splitlines()[0]}
        out.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
