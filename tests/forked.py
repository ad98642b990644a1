"""Processes of their own that need not import everything again: forks of one that has.

The imports of a training run take seconds of a processor, more than most tests do in a process.
What is forked has imported, and done nothing else; it lives, fails and is killed like any other.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import cache
from multiprocessing import forkserver, get_context
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


def environment(**others: str) -> dict[str, str]:
    """That of this process, with one thread, the checkout and without traces of other groups."""
    own = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")}
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    return {**own, "OMP_NUM_THREADS": "1", "PYTHONPATH": path, "GLOO_LOG_LEVEL": "error", **others}


@cache
def _context() -> ForkServerContext:
    """With a server that has the environment of above."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["training", "victim"])
    with pytest.MonkeyPatch.context() as patch:
        given = environment()
        for key in os.environ.keys() - given.keys():
            patch.delenv(key)
        for key, value in given.items():
            patch.setenv(key, value)
        forkserver.ensure_running()
    return context


def start(target: Callable[..., None], *arguments: Any, errors: Path, **others: str) -> BaseProcess:
    """A process that calls a function of a module.

    Args:
        target: the function.
        arguments: what it is given.
        errors: the file that takes what the process prints to the standard error.
        others: variables of its environment.
    """
    process = _context().Process(target=_run, args=(target, arguments, str(errors), others))
    process.start()
    return process


def _run(
    target: Callable[..., None], arguments: tuple[Any, ...], errors: str, others: dict[str, str]
) -> None:
    os.environ.update(others)
    for path, stream in ((os.devnull, sys.stdout), (errors, sys.stderr)):
        with Path(path).open("a", encoding="utf-8") as file:
            os.dup2(file.fileno(), stream.fileno())
    target(*arguments)


def finish(process: BaseProcess, errors: Path, timeout: float) -> None:
    """Wait for the end, which has to be a good one."""
    process.join(timeout)
    assert process.exitcode == 0, f"{process.exitcode}: {errors.read_text(encoding='utf-8')}"
