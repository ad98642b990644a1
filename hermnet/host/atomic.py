"""Files that are there as a whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

from hermnet.errors import InputError

_SUFFIX = ".part"
_FULL = (errno.ENOSPC, errno.EDQUOT)


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a file beside its place, wait for the disk, and put it there in one step.

    Whoever is killed meanwhile, or runs out of disk, leaves the file as it was before.

    Raises:
        InputError: if it cannot be written; it says why and what became of the file.
    """
    part = path.with_name(path.name + _SUFFIX)
    data = content.encode() if isinstance(content, str) else content
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        _sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise InputError(f"cannot write {path}: {reason(error)}{_kept(path)}") from error


def copy_atomically(source: Path, path: Path) -> None:
    """Give a file another name too, which costs neither time nor space where it can be a link.

    Neither of them may be written into later, only replaced.

    Raises:
        InputError: if it has to be copied and that fails.
    """
    part = path.with_name(path.name + _SUFFIX)
    try:
        part.unlink(missing_ok=True)
        os.link(source, part)
        os.replace(part, path)
        part.unlink(missing_ok=True)  # it is still there if both were one file before
        _sync_folder(path.parent)
    except OSError:  # a file system without links
        write_atomically(path, source.read_bytes())


def remove_parts(folder: Path) -> None:
    """Remove what a killed process had not finished; nobody else may be writing there."""
    for part in folder.glob(f"*{_SUFFIX}"):
        part.unlink(missing_ok=True)


def reason(error: OSError) -> str:
    """What the operating system says, and what helps."""
    told = error.strerror or str(error)
    return f"{told}; free some space" if error.errno in _FULL else told


def is_of_the_disk(error: OSError) -> bool:
    """Whether a disk is full or read-only, which no line of code can mend."""
    return error.errno in (*_FULL, errno.EROFS)


def _kept(path: Path) -> str:
    return "; the file that was there before is intact" if path.is_file() else ""


def _sync_folder(folder: Path) -> None:
    """Make the new name last through a loss of power too, where the file system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
