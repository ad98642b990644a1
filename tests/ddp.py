"""Several processes on this machine that train together over gloo, and what one process gives."""

from __future__ import annotations

import importlib
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import forked

TIMEOUT = 300.0  # seconds


def free_port() -> int:
    """A port that nobody listens to."""
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


def start(*argv: str, **others: str) -> subprocess.Popen[str]:
    """A Python process whose output is kept."""
    return subprocess.Popen(
        [sys.executable, *argv],
        env=forked.environment(**others),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def hermnet(*argv: str, **others: str) -> subprocess.Popen[str]:
    """The command, as one that can start itself again."""
    return start("-m", "hermnet.cli", *argv, **others)


def answers(processes: Sequence[subprocess.Popen[str]], timeout: float = TIMEOUT) -> list[Any]:
    """Exit code, output and errors of each, once all have ended; none is left behind."""
    try:
        ended = [process.communicate(timeout=timeout) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, *texts) for process, texts in zip(processes, ended, strict=True)]


def each(
    n_processes: int, function: str, folder: Path, *arguments: Any, timeout: float = TIMEOUT
) -> list[Any]:
    """What a function returns in each of several processes that have found each other.

    Args:
        n_processes: how many.
        function: such as ``training:fit``; it returns tensors and plain values.
        folder: where results lie meanwhile.
        arguments: of the function; plain values.
        timeout: seconds.
    """
    port = str(free_port())
    parts = [(rank, folder / f"{rank}.txt") for rank in range(n_processes)]
    processes = [
        forked.start(
            *(_work, function, str(folder), arguments),
            errors=errors,
            LOCAL_RANK=str(rank),
            WORLD_SIZE=str(n_processes),
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=port,
        )
        for rank, errors in parts
    ]
    try:
        for process, (_, errors) in zip(processes, parts, strict=True):
            forked.finish(process, errors, timeout)
    finally:
        for process in processes:
            process.kill()
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank, _ in parts]


def _work(function: str, folder: str, arguments: tuple[Any, ...]) -> None:
    """Run the function in this process of the group."""
    module, _, name = function.partition(":")
    torch.set_num_threads(1)
    rank, world = int(os.environ["LOCAL_RANK"]), int(os.environ["WORLD_SIZE"])
    torch.distributed.init_process_group("gloo", rank=rank, world_size=world)
    result = getattr(importlib.import_module(module), name)(*arguments)
    torch.save(result, Path(folder) / f"{rank}.pt")
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
