"""What a command has computed, kept until it is done, so that it can go on after a kill."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from hermnet.errors import InputError

_KEPT = ("energy", "free_energy", "forces", "stress")


@final
class Remembering(Calculator):
    """A calculator whose results are lines of a file; what is in there is not computed again.

    A command takes the same way each time, so it comes in no time to where it was.

    Args:
        inner: what computes.
        path: the file; it appears with the first result.
        identity: what results depend on besides the structure.
        resume: whether to use what is in the file, instead of starting it anew.

    Raises:
        InputError: if there is nothing to resume, or it was computed with something else.
    """

    implemented_properties = list(_KEPT)  # noqa: RUF012  # as ASE has it

    def __init__(self, inner: Calculator, path: Path, identity: str, resume: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # ASE has few types
        self._inner = inner
        self._path = path
        self._known = _read(path, identity) if resume else {}
        if not resume:
            path.unlink(missing_ok=True)
        self._identity = identity

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Fill `results`, from the file or with the inner calculator."""
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        assert self.atoms is not None
        key = _key(self.atoms)
        if key not in self._known:
            self._inner.calculate(self.atoms, [*_KEPT], [*all_changes])
            found = {name: self._inner.results.get(name) for name in _KEPT}
            self._known[key] = {
                n: np.asarray(v).tolist() for n, v in found.items() if v is not None
            }
            self._append({"structure": key, "results": self._known[key]})
        self.results = {
            name: np.array(value) if isinstance(value, list) else value
            for name, value in self._known[key].items()
        }

    def forget(self) -> None:
        """Remove the file."""
        self._path.unlink(missing_ok=True)

    def _append(self, line: dict[str, Any]) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            start = not self._path.exists()
            with self._path.open("a", encoding="ascii") as file:
                for content in ([{"identity": self._identity}] if start else []) + [line]:
                    file.write(json.dumps(content) + "\n")
        except OSError as error:
            raise InputError(f"cannot write {self._path}: {error.strerror}") from error


def identity_of(paths: Iterable[str | Path], *options: object) -> str:
    """A fingerprint of files, in any order, and options."""
    hashes = sorted(hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in paths)
    return hashlib.sha256(repr((hashes, options)).encode()).hexdigest()


def _read(path: Path, identity: str) -> dict[str, dict[str, Any]]:
    """Results by structure; a last line that was cut does not count."""
    if not path.is_file():
        raise InputError(f"there is nothing to resume: no file {path}")
    lines = []
    with path.open(encoding="ascii") as file:
        for text in file:
            if text.endswith("\n"):
                lines.append(json.loads(text))
    if not lines or lines[0].get("identity") != identity:
        raise InputError(f"{path} was computed with another checkpoint or dtype: start anew")
    with path.open("r+b") as file:
        file.truncate(path.read_bytes().rfind(b"\n") + 1)
    return {line["structure"]: line["results"] for line in lines[1:]}


def _key(atoms: Atoms) -> str:
    arrays = (atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()
