"""What a LAMMPS text dump holds: facts that ASE's reader takes for granted."""

from __future__ import annotations

import warnings
import zlib
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path
from typing import IO, Any

from ase.io.formats import open_with_compression

from hermnet.errors import InputError


@dataclass(frozen=True)
class Survey:
    """A dump's frames.

    Attributes:
        columns: of the atoms.
        n_complete: number of complete frames.
        tells_pbc: whether the box bounds say which directions are periodic.
    """

    columns: tuple[str, ...]
    n_complete: int
    tells_pbc: bool


def survey(path: Path) -> Survey:
    """Go through a dump once; an incomplete frame at its end is left out with a warning.

    Raises:
        InputError: if it cannot be read, is no text dump, or lacks lines elsewhere.
    """
    if path.suffix == ".bin":
        raise InputError(f"{path} is a binary dump; known: text dumps, also compressed")
    try:
        with open_with_compression(str(path), "r") as stream:
            headers, complete = _scan(stream)
    except (OSError, EOFError, UnicodeDecodeError, LZMAError, zlib.error) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    except (ValueError, IndexError) as error:
        raise InputError(f"{path} is no LAMMPS dump: {error}") from error
    columns = {line for line in headers if line.startswith("ITEM: ATOMS")}
    boxes = [line.split()[3:] for line in headers if line.startswith("ITEM: BOX BOUNDS")]
    if not complete or not columns:
        raise InputError(f"{path} is no LAMMPS text dump: there is no 'ITEM: TIMESTEP' in it")
    if len(columns) > 1:
        raise InputError(f"{path}: frames with different columns: {'; '.join(sorted(columns))}")
    if not all(complete[:-1]) or not any(complete):
        raise InputError(f"{path}: frame {complete.index(False)} lacks atoms")
    if not complete[-1]:
        warnings.warn(f"{path} is cut off: read {len(complete) - 1} complete frames", stacklevel=4)
    flags = all(
        len(box) >= 3 and all(len(f) == 2 and f[0] in "pfsm" for f in box[-3:]) for box in boxes
    )
    return Survey(tuple(columns.pop().split()[2:]), sum(complete), flags)


def _scan(stream: IO[Any]) -> tuple[list[str], list[bool]]:
    """All lines that begin with ``ITEM:``, and of each frame whether its atoms are all there."""
    headers: list[str] = []
    complete: list[bool] = []
    missing, width = 0, 0
    for line in stream:
        if line.startswith("ITEM:"):
            headers.append(line.strip())
        if line.startswith("ITEM: TIMESTEP"):
            complete.append(False)
        elif line.startswith("ITEM: NUMBER OF ATOMS"):
            missing = int(next(stream, "0"))
        elif line.startswith("ITEM: ATOMS"):
            width = len(line.split()) - 2
        elif missing and width and len(line.split()) == width and line.endswith("\n"):
            missing -= 1
            complete[-1] = missing == 0
            width = width if missing else 0
    return headers, complete
