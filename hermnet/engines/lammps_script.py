"""A LAMMPS input script, cut where a potential has to be put in.

LAMMPS runs a script on its own, and a callback can only be given to a fix that is there. So a
script is run in parts, each up to and including a line such as
``fix hermnet all external pf/callback 1 1``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hermnet.errors import InputError

FIX = "fix hermnet all external pf/callback 1 1"
_JUMP = re.compile(r"\bjump\s+(\S+)\s+([\w.${}-]+)")
_LABEL = re.compile(r"^\s*label\s+(\S+)", flags=re.MULTILINE)


@dataclass(frozen=True)
class Part:
    """Some lines of a script.

    Attributes:
        text: the lines.
        fix_id: of the fix that ends them and needs a potential; None at the end of the script.
    """

    text: str
    fix_id: str | None


def read_parts(path: str | Path) -> list[Part]:
    """The parts of a script, in order; together they are the script.

    Raises:
        InputError: if it cannot be read, no line says where the potential goes, such a line cannot
            be used, or a loop goes across one.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    lines = text.splitlines(keepends=True)
    parts: list[Part] = []
    start = 0
    for end, command in _commands(lines):
        fix_id = _needs_potential(command, f"{path} line {end}")
        if fix_id is not None:
            parts.append(Part("".join(lines[start:end]), fix_id))
            start = end
    if not parts:
        raise InputError(
            f"{path} does not say where the potential acts; add the line '{FIX}' to it (not to an "
            "included file), after the atoms and before the first run or minimize"
        )
    parts.append(Part("".join(lines[start:]), None))
    _check_jumps(parts, path)
    return parts


def _commands(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Each command without its comment, and the number of the line that it ends in."""
    command = ""
    for number, line in enumerate(lines, start=1):
        command += line.rstrip().removesuffix("&")
        if not line.rstrip().endswith("&"):
            yield number, command.partition("#")[0]
            command = ""


def _needs_potential(command: str, where: str) -> str | None:
    """The ID of the fix that a command makes, if that one waits for a potential."""
    words = command.split()
    if words[:1] != ["fix"] or words[3:5] != ["external", "pf/callback"]:
        return None
    if words[2] != "all" or words[5:] != ["1", "1"] or "$" in words[1]:
        raise InputError(
            f"{where}: '{' '.join(words)}': a potential acts on all atoms at every step: '{FIX}', "
            "where 'hermnet' may be another name"
        )
    return words[1]


def _check_jumps(parts: list[Part], path: Path) -> None:
    """Refuse jumps to a label on the other side of a fix, which LAMMPS would not find."""
    for part in parts:
        here = set(_LABEL.findall(part.text))
        for file, label in _JUMP.findall(part.text):
            elsewhere = any(label in _LABEL.findall(other.text) for other in parts)
            if file in ("SELF", path.name, str(path)) and elsewhere and label not in here:
                raise InputError(
                    f"{path}: 'jump {file} {label}' goes across a line 'fix ... external "
                    "pf/callback'; put that line outside of the loop"
                )
