"""Folders and files that are there completely or not at all."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hermnet.errors import InputError


@contextmanager
def staged(
    output: Path, replaceable: Callable[[Path], bool], overwrite: bool = False
) -> Iterator[Path]:
    """A folder to write into; its entry of the same name as `output` becomes it at the end.

    After an error nothing is left of it. A process that is killed leaves a hidden folder beside
    `output`, which the next one to write there removes.

    Args:
        output: file or folder to come.
        replaceable: says of a file or folder that is there whether it may be overwritten at all.
        overwrite: whether to do so.

    Raises:
        InputError: if `output` is there and not to be overwritten, or another process writes it.
    """
    check_free(output, replaceable, overwrite)
    output.parent.mkdir(parents=True, exist_ok=True)
    stage = output.parent / f".{output.name}.partial"
    stage.mkdir(exist_ok=True)
    descriptor = os.open(stage, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # goes when the process ends
        except OSError as error:
            raise InputError(f"{output} is being written by another process") from error
        _empty(stage)
        try:
            yield stage
            flush(stage / output.name)
            _swap(stage / output.name, output, stage / "replaced")
        finally:
            shutil.rmtree(stage, ignore_errors=True)
    finally:
        os.close(descriptor)


def check_free(output: Path, replaceable: Callable[[Path], bool], overwrite: bool) -> None:
    """Refuse to write where something is that must stay.

    Raises:
        InputError: see `staged`.
    """
    if not output.exists():
        return
    if not overwrite:
        raise InputError(f"{output} is there already; --overwrite replaces it")
    if not replaceable(output):
        raise InputError(f"{output} holds other files too and is not replaced")


def flush(path: Path) -> None:
    """Have a folder, and the folders in it, on the disk; files flush themselves."""
    for folder, _, _ in os.walk(path):
        _sync(Path(folder))


def _swap(new: Path, output: Path, old: Path) -> None:
    if output.is_dir():  # unlike a file, a folder is not replaced by renaming
        os.rename(output, old)
    try:
        os.replace(new, output)
    except OSError:
        with suppress(FileNotFoundError):
            os.rename(old, output)
        raise
    _sync(output.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()
