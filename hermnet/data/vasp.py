"""How far a VASP run got: facts of its output that ASE does not tell."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path

from ase.io.formats import open_with_compression

from hermnet.errors import InputError


@dataclass(frozen=True)
class IonicSteps:
    """The ionic steps of a run.

    Attributes:
        n_electronic: number of electronic steps of each ionic step that is complete.
        nelm: the most that VASP does; None if the file does not say it.
        finished: whether VASP came to its end.
    """

    n_electronic: tuple[int, ...]
    nelm: int | None
    finished: bool

    @property
    def n_complete(self) -> int:
        """Number of complete ionic steps."""
        return len(self.n_electronic)

    def unconverged(self) -> set[int]:
        """Ionic steps, from 0, that took all electronic steps that VASP does."""
        if self.nelm is None:
            return set()
        return {index for index, n in enumerate(self.n_electronic) if n >= self.nelm}


def ionic_steps(path: Path, kind: str) -> IonicSteps:
    """Count the steps of a file.

    Args:
        path: the file, which may be compressed.
        kind: ASE's word for it, such as ``vasp-xml``.

    Raises:
        InputError: if it cannot be read.
    """
    if kind == "vasp-xdatcar":
        return IonicSteps((), None, True)
    try:
        with open_with_compression(str(path), "rb") as lines:
            return _of_xml(lines) if kind == "vasp-xml" else _of_outcar(lines)
    except (OSError, EOFError, LZMAError, zlib.error) as error:
        raise InputError(f"cannot read {path}: {error}") from error


def _of_xml(lines: Iterable[bytes]) -> IonicSteps:
    done: list[int] = []
    current, nelm, finished = 0, None, False
    for line in lines:
        current += line.count(b"<scstep>")
        if b"</calculation>" in line:
            done.append(current)
            current = 0
        elif nelm is None and b'name="NELM"' in line:  # a second one is of linear response
            found = re.search(rb'name="NELM">\s*(\d+)', line)
            nelm = int(found[1]) if found else None
        finished = finished or b"</modeling>" in line
    return IonicSteps(tuple(done), nelm, finished)


def _of_outcar(lines: Iterable[bytes]) -> IonicSteps:
    done: list[int] = []
    current, nelm, finished = 0, None, False
    for line in lines:
        if b"Iteration" in line:
            found = re.search(rb"Iteration\s*\d+\(\s*(\d+)\)", line)
            current = int(found[1]) if found else current
        elif b"FREE ENERGIE OF THE ION-ELECTRON SYSTEM" in line:
            done.append(current)
        elif nelm is None and b"NELM " in line:
            found = re.search(rb"NELM\s*=\s*(\d+)", line)
            nelm = int(found[1]) if found else None
        finished = finished or b"General timing and accounting" in line
    return IonicSteps(tuple(done), nelm, finished)
