"""Files that a recipe names: paths, patterns, and lists of them with weights."""

from __future__ import annotations

import glob
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hermnet.errors import InputError, nearest

_KEYS = ("path", "weight")
_PART = "::"


@dataclass(frozen=True)
class Entry:
    """A path or pattern, which part of the files is meant, and how often its frames are drawn."""

    path: str
    part: str = ""  # what it means is the format's business; empty for everything
    weight: float = 1.0

    @classmethod
    def parse(cls, text: str, weight: float = 1.0) -> Entry:
        """``path`` or ``path::part``."""
        path, _, part = text.partition(_PART)
        return cls(path, part, weight)


def parse_entries(option: str, given: Any) -> list[Entry]:
    """A path, or a list of paths and of ``{path: ..., weight: ...}``.

    Raises:
        InputError: for anything else, an empty list, or a weight that is not positive.
    """
    entries = given if isinstance(given, list) else [given]
    if not entries:
        raise InputError(f"{option}: an empty list names no file")
    return [_entry(option, entry) for entry in entries]


def _entry(option: str, given: Any) -> Entry:
    if isinstance(given, str):
        return Entry.parse(given)
    if not isinstance(given, dict) or "path" not in given:
        raise InputError(f"{option}: expected a path, or path and weight, not {given!r}")
    unknown = [str(key) for key in given if key not in _KEYS]
    if unknown:
        raise InputError(f"{option}: unknown option '{unknown[0]}'; {nearest(unknown[0], _KEYS)}")
    weight = given.get("weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not weight > 0:
        raise InputError(f"{option}: the weight of {given['path']} must be positive, not {weight}")
    return Entry.parse(str(given["path"]), float(weight))


def matches(option: str, given: str) -> list[Path]:
    """The files and folders that a path or a pattern means, sorted by name.

    Raises:
        InputError: if there are none; it says what the folder holds instead.
    """
    path = Path(given).expanduser()
    if path.exists():
        return [path]
    found = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]
    if found:
        return found
    if not path.parent.is_dir():
        raise InputError(f"{option}: no file '{given}': there is no folder {path.parent}")
    there = nearest(path.name, (other.name for other in path.parent.iterdir()))
    raise InputError(f"{option}: no file '{given}' in {path.parent.resolve()}; {there}")
