"""From one process to all processes of a run, and back."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
import uuid
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from threading import Timer
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.strategies.launchers import _SubprocessScriptLauncher
from torch import distributed

from hermnet.errors import InputError, Interrupted, LostProcessError
from hermnet.host.processes import from_first, n_processes, rank, started_as
from hermnet.host.watch import BAD_INPUT, Watch, first_line
from hermnet.training.trainer import quiet

Children = list[subprocess.Popen[bytes]]

_KEYS = ("accelerator", "devices", "num_nodes", "strategy", "plugins", "precision")
_SILENT: dict[str, Any] = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}
_JOIN = 120.0  # seconds that processes wait for each other at the start
_REASON = 5.0  # seconds to learn why a connection broke
_LAST_WORDS = 3.0  # seconds in which the others read why this process ends
_LOST = re.compile(r"gloo|NCCL|Connection (closed|reset|refused)|Broken pipe")


@contextmanager
def launched(trainer: Mapping[str, Any]) -> Iterator[Children]:
    """Run the block in all processes of a run, once they have found each other.

    A process that was started by hand starts the others of its machine, as Lightning does; torchrun
    and SLURM have started all of them already. Only process 0 prints. When a process ends before
    its time, the others do within a minute, and say why.

    Args:
        trainer: the recipe's section.

    Yields:
        The processes that this one has started.

    Raises:
        InputError: when Lightning refuses the section, or the port is in use.
        LostProcessError: when another process is gone.
    """
    strategy = _strategy(trainer)
    if not isinstance(strategy, DDPStrategy) or strategy.num_nodes * strategy.num_processes == 1:
        yield []
        return
    children = _start(strategy)
    watch = Watch(children, strategy.global_rank)
    watch.start()
    try:
        _join(strategy, watch)
        with _only_first_speaks():
            yield children
        watch.stop()
        distributed.barrier()  # nobody looks for process 0 when it goes
        distributed.destroy_process_group()
    except BaseException as error:
        _give_up(error, watch)
        raise


def adopt(trainer: pl.Trainer, children: Children) -> None:
    """Let a trainer pass signals on to the processes that this one has started."""
    launcher = trainer.strategy.launcher
    if isinstance(launcher, _SubprocessScriptLauncher):
        launcher.procs = children


def _strategy(trainer: Mapping[str, Any]) -> Any:
    options = {key: trainer[key] for key in _KEYS if key in trainer}
    try:
        with quiet():
            return pl.Trainer(**{**_SILENT, **started_as(), **options}).strategy
    except Exception as error:  # whatever it raises, the recipe's values are the cause
        raise InputError(f"trainer: {' '.join(str(error).split())}") from error


def _start(strategy: DDPStrategy) -> Children:
    environment, launcher = strategy.cluster_environment, strategy.launcher
    assert environment is not None
    if not isinstance(launcher, _SubprocessScriptLauncher):
        raise InputError("trainer.strategy: of the ways to start processes only 'ddp' is supported")
    if not environment.creates_processes_externally:
        if environment.node_rank() == 0:
            _check_port(environment.main_address, environment.main_port)
        # Torch's log has a page for each broken connection; the reason is one line of ours.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    try:
        with quiet():
            launcher.launch(lambda: None)
    except ValueError as error:  # as many processes as the launcher was told?
        raise InputError(f"trainer: {' '.join(str(error).split())}") from error
    children: Children = list(launcher.procs)
    launcher.procs.clear()  # Lightning's own watch would kill this process without a word
    return children


def _check_port(host: str, port: int) -> None:
    """Refuse a port that another program has, before any process waits for it."""
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("", port))
        except OSError as error:
            raise InputError(_busy(host, port)) from error


def _busy(host: str, port: int | str) -> str:
    return f"port {port} of {host} is in use; give a free one in the environment as MASTER_PORT"


def _join(strategy: DDPStrategy, watch: Watch) -> None:
    """Find the other processes."""
    late = Timer(_JOIN, watch.end, (1, f"not all processes have started within {_JOIN:.0f} s"))
    late.daemon = True
    late.start()
    try:
        with quiet():
            strategy.setup_environment()
    except RuntimeError as error:
        if "EADDRINUSE" not in str(error):
            raise
        raise InputError(_busy(os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"])) from error
    finally:
        late.cancel()
    watch.join(from_first(lambda: uuid.uuid4().hex), rank(), n_processes())


@contextmanager
def _only_first_speaks() -> Iterator[None]:
    if rank() == 0:
        yield
        return
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        redirect_stdout(nowhere),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


def _give_up(error: BaseException, watch: Watch) -> None:
    """Let the other processes know; raises what tells the user most, or returns."""
    if isinstance(error, InputError):
        watch.stop()
        if rank() > 0:
            # Bad input is mostly bad for all, and then process 0 has said so.
            time.sleep(_LAST_WORDS)
            watch.report(f"process {rank()}: {error}", code=2)
            raise SystemExit(2) from error
        watch.report(str(error), code=2)
    elif isinstance(error, Interrupted):
        watch.stop()  # all processes end here, and everything is saved
        return
    elif isinstance(error, KeyboardInterrupt | SystemExit):
        watch.stop()
        watch.report(f"process {rank()} was interrupted")
    elif isinstance(error, RuntimeError) and _LOST.search(str(error)):
        unknown = (1, f"lost contact with another process: {first_line(error)}")
        code, reason = watch.reason(_REASON) or unknown
        watch.stop()
        watch.report(reason, code)
        watch.kill_children()
        if code == BAD_INPUT:
            raise InputError(reason) from error
        raise LostProcessError(reason) from error
    else:
        watch.stop()
        watch.report(f"process {rank()} failed: {type(error).__name__}: {first_line(error)}")
        if rank() == 0:  # it may hold the store from which they read this
            time.sleep(_LAST_WORDS)
    watch.kill_children()
