"""VASP runs: vasprun.xml, OUTCAR and XDATCAR, parsed by ASE."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, final

from ase.io import read

from hermnet.data.files import FileDataModule
from hermnet.data.fingerprint import FileStamp
from hermnet.data.frames import Frame, FrameList
from hermnet.data.outcar import read_outcar
from hermnet.data.slices import sliced
from hermnet.data.vasp import IonicSteps, ionic_steps
from hermnet.errors import InputError

_OUTCAR = "vasp-out"
# What stands in a file by its name, the best first, and ASE's word for it.
_NAMES = {
    "vasprun": (re.compile(r"vasprun(.*)\.xml(\.gz|\.bz2|\.xz)?"), "vasp-xml"),
    "OUTCAR": (re.compile(r"OUTCAR(.*?)(\.gz|\.bz2|\.xz)?"), _OUTCAR),
    "XDATCAR": (re.compile(r"XDATCAR(.*?)(\.gz|\.bz2|\.xz)?"), "vasp-xdatcar"),
}
_ALLOWED = "vasprun*.xml, OUTCAR* and XDATCAR*, also with .gz, .bz2 or .xz"


@final
class VASP(FileDataModule):
    """Ionic steps of VASP runs, from vasprun.xml or OUTCAR.

    A path is a file called vasprun*.xml, OUTCAR* or XDATCAR* (positions only, for ``labels: []``),
    or a folder in which all are found. Of files in one folder whose names differ in this word
    alone, such as vasprun.xml and OUTCAR, only the first is read. A part is a slice of the ionic
    steps, such as ``run1::::10``. Frames have ``run``, the file, for `group_key`.

    The energy is the free energy (TOTEN), of which the forces are the derivative; ``keys: {energy:
    energy}`` takes the one extrapolated to zero smearing. Stress is ASE's: eV/A^3, positive under
    tension.

    Args:
        unconverged: what to do with ionic steps that took all NELM electronic steps: keep them with
            a warning, skip them, or error.
    """

    default_keys: ClassVar = {"energy": "free_energy"}

    def __init__(
        self, *, unconverged: Literal["keep", "skip", "error"] = "keep", **common: Any
    ) -> None:
        super().__init__(**common)
        self.unconverged = unconverged

    def open(self, path: Path, part: str) -> FrameList:
        """See `FileDataModule.open`."""
        stamp = FileStamp.of(path)
        runs = _runs(path) if path.is_dir() else {path: _kind(path)}
        frames = [frame for file, kind in runs.items() for frame in self._of(file, kind)]
        return sliced(frames, stamp, part, "vasp", self.unconverged)

    def _of(self, path: Path, kind: str) -> list[Frame]:
        steps = ionic_steps(path, kind)
        if steps.n_complete == 0 and not steps.finished:
            raise InputError(f"{path} is cut off before the end of its first ionic step")
        found: Any
        # ASE's readers raise whatever happens to go wrong in them.
        try:
            if kind == _OUTCAR:
                found = read_outcar(path)
            else:
                every = slice(None) if steps.finished else slice(0, steps.n_complete)
                found = read(path, index=every, format=kind, do_not_split_by_at_sign=True)
        except Exception as error:
            raise InputError(f"ASE cannot read {path}: {type(error).__name__}: {error}") from error
        if not found:
            raise InputError(f"{path} holds no ionic steps")
        if not steps.finished or len(found) < steps.n_complete:
            warnings.warn(
                f"{path} is cut off or damaged: read {len(found)} complete ionic steps",
                stacklevel=2,
            )
        bad = self._unconverged(path, steps)
        frames = [
            Frame.from_atoms(atoms, f"{path}, ionic step {index + 1}")
            for index, atoms in enumerate(found)
            if index not in bad
        ]
        return [replace(frame, values={**frame.values, "run": str(path)}) for frame in frames]

    def _unconverged(self, path: Path, steps: IonicSteps) -> set[int]:
        """Which steps to leave out."""
        found = steps.unconverged()
        if not found:
            return set()
        message = (
            f"{path}: {len(found)} of {steps.n_complete} ionic steps took all NELM = {steps.nelm} "
            "electronic steps, so that they may not be converged"
        )
        if self.unconverged == "error":
            raise InputError(message)
        if self.unconverged == "keep":
            warnings.warn(message, stacklevel=2)
            return set()
        return found


def _kind(path: Path) -> str:
    for pattern, kind in _NAMES.values():
        if pattern.fullmatch(path.name):
            return kind
    raise InputError(f"{path}: '{path.name}' is no file of VASP that is read; known: {_ALLOWED}")


def _runs(folder: Path) -> Mapping[Path, str]:
    """Each run's best file and its kind, in the order of their paths."""
    best: dict[tuple[Path, str], tuple[int, Path, str]] = {}
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for rank, (pattern, kind) in enumerate(_NAMES.values()):
        for path in files:
            if match := pattern.fullmatch(path.name):
                best.setdefault((path.parent, match[1]), (rank, path, kind))
    if not best:
        raise InputError(f"no file of VASP in {folder}; known: {_ALLOWED}")
    return {path: kind for _, path, kind in sorted(best.values(), key=lambda run: run[1])}
