"""Runs side by side on this machine, threads and GPUs shared out."""

from __future__ import annotations

import os
import queue
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

from hermnet.ablation.execution import RunTask
from hermnet.ablation.folder import Status
from hermnet.errors import InputError

Tell = Callable[[str, Status], None]


def n_cores() -> int:
    """Cores that this process may use."""
    if "sched_getaffinity" in dir(os):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def gpus() -> list[str]:
    """The GPUs of this process, as CUDA_VISIBLE_DEVICES names them."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name.strip() for name in given.split(",") if name.strip() not in ("", "-1")]
    import torch

    return [str(index) for index in range(torch.cuda.device_count())]


def n_at_a_time(asked: int | None, threads: int | None, devices: Sequence[str]) -> int:
    """How many runs go side by side.

    Args:
        asked: what the user wants; None for one on each GPU, else as many as there are cores for
            the recipe's threads.
        threads: of the recipe; without them a run wants all cores.
        devices: the GPUs.

    Raises:
        InputError: if less than one was asked for.
    """
    if asked is not None:
        if asked < 1:
            raise InputError(f"--jobs must be at least 1, not {asked}")
        return asked
    if devices:
        return len(devices)
    return max(1, n_cores() // threads) if threads is not None else 1


def run_here(
    path: str, names: Sequence[str], jobs: int, devices: Sequence[str], tell: Tell
) -> None:
    """Do runs in order, several at a time, each in a process of its own.

    Args:
        path: the ablation's folder.
        names: of the runs.
        jobs: how many at a time.
        devices: GPUs, of which each run gets one; with more jobs than GPUs they share.
        tell: is told of each run that has ended.
    """
    task = RunTask(path, max(1, n_cores() // jobs))
    free: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    for index in range(jobs):
        free.put(devices[index % len(devices)] if devices else None)

    def one(name: str) -> Status:
        device = free.get()
        try:
            return task(name, device)
        finally:
            free.put(device)

    with ThreadPoolExecutor(jobs) as pool:
        futures = {pool.submit(one, name): name for name in names}
        try:
            left = set(futures)
            while left:
                done, left = wait(left, return_when=FIRST_COMPLETED)
                for future in done:
                    tell(futures[future], future.result())
        except BaseException:
            for future in futures:
                future.cancel()
            task.interrupt()  # they save, and the pool waits for them
            print("stopping; the same command goes on from here", flush=True)
            raise
