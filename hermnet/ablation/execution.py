"""One run: a process of its own, which goes on where an earlier one was ended."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, final

from omegaconf import OmegaConf

from hermnet.ablation.folder import AblationFolder, Status
from hermnet.checkpoints.checkpoint import read_checkpoint
from hermnet.errors import InputError
from hermnet.host.lock import Lock

_PATIENCE = 120.0  # seconds that a run may take to end after the process that started it
_LOOK = 0.1  # seconds
_FOREIGN = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "NODE_RANK")  # of another program's processes


@final
class RunTask:
    """Does runs of an ablation by name, wherever it is called.

    A run that is finished is left alone, a run that was interrupted goes on from its last
    checkpoint, and one that failed is tried again.

    Args:
        path: the ablation's folder.
        threads: of the CPU for each run, where its recipe does not say.
    """

    def __init__(self, path: str, threads: int) -> None:
        self._path = path
        self._threads = threads
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __call__(self, name: str, device: str | None = None) -> Status:
        """Do a run and say how it ended.

        Args:
            name: of the run.
            device: the GPU for it, as CUDA_VISIBLE_DEVICES has it; None leaves that alone.
        """
        folder = AblationFolder(Path(self._path))
        _wait_for(folder.run(name).lock)
        before = folder.status(name)
        if before is not None and folder.state(name) == "finished":
            return before
        start = time.monotonic()
        code = self._run(folder, name, device)
        seconds = time.monotonic() - start + (before.seconds if before is not None else 0.0)
        status = Status(code, seconds, "" if code == 0 else last_words(folder.log(name)))
        if code not in (130, 143, -2, -15):  # else it was interrupted and has saved
            folder.write_status(name, status)
        return status

    def interrupt(self) -> None:
        """Let the runs save and end."""
        for process in list(self._processes.values()):
            if process.poll() is None:
                process.terminate()

    def checkpoint(self, name: str, device: str | None = None) -> Any:
        """What submitit asks when a job's time is up: save, and queue again."""
        from submitit.helpers import DelayedSubmission

        self.interrupt()
        _ended(self._processes.values(), _PATIENCE)
        return DelayedSubmission(RunTask(self._path, self._threads), name, device)

    def __getstate__(self) -> dict[str, Any]:
        return {"_path": self._path, "_threads": self._threads, "_processes": {}}

    def _run(self, folder: AblationFolder, name: str, device: str | None) -> int:
        environment = _environment(self._threads, device)
        with folder.log(name).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "hermnet.ablation.worker", *_arguments(folder, name)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,  # Ctrl-C would be one signal, and that of `interrupt` two
            )
            self._processes[name] = process
            _ended([process])
            return int(process.returncode)


def _ended(processes: Iterable[subprocess.Popen[bytes]], patience: float = math.inf) -> None:
    """Wait by looking: a handler of a signal would wait for ever for what it has interrupted."""
    until = time.monotonic() + patience
    while any(process.poll() is None for process in processes) and time.monotonic() < until:
        time.sleep(_LOOK)


def _arguments(folder: AblationFolder, name: str) -> list[str]:
    """The command of a run, by what is there of it."""
    run, config = folder.run(name), ["--config", str(folder.recipe(name))]
    where = f"trainer.default_root_dir={json.dumps(str(run.path))}"
    try:
        checkpoint = read_checkpoint(run.last)
    except InputError:
        return ["fit", *config, where, "--overwrite"]  # it has not come to anything
    recipe: Any = OmegaConf.to_container(OmegaConf.load(folder.recipe(name)))
    n_epochs = recipe["trainer"].get("max_epochs")
    if n_epochs is not None and 0 <= n_epochs <= checkpoint.epoch + 1:
        return ["plot", *config, where]  # trained, but not evaluated to the end
    return ["fit", *config, where, "--resume"]


def _environment(threads: int, device: str | None) -> Mapping[str, str]:
    environment = {key: value for key, value in os.environ.items() if key not in _FOREIGN}
    environment.setdefault("OMP_NUM_THREADS", str(threads))
    environment.setdefault("MKL_NUM_THREADS", environment["OMP_NUM_THREADS"])
    if device is not None:
        environment["CUDA_VISIBLE_DEVICES"] = device
    return {**environment, "PYTHONUNBUFFERED": "1", "HERMNET_PARENT": str(os.getpid())}


def _wait_for(lock: Path) -> None:
    """Let a run end whose starter was killed: it is saving."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            Lock(lock).check()
            return
        except InputError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


def last_words(log: Path) -> str:
    """The last line of a log that says something; errors go before others."""
    try:
        lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines()]
    except OSError:
        return ""
    told = [line for line in lines if line]
    errors = [line for line in told if line.startswith("error: ")]
    last = errors[-1:] if errors and errors[-1] in told[-3:] else told[-1:]
    return "".join(last).removeprefix("error: ")[:300]
