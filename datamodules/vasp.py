"""Runs of VASP."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, final
from xml.etree import ElementTree

import numpy as np
from ase.io import read

from hermnet.data.files import FileDataModule
from hermnet.data.frames import Frame, FrameList
from hermnet.data.from_dpdata import read_system
from hermnet.errors import InputError


@final
class VASP(FileDataModule):
    """Ionic steps of VASP: vasprun.xml or OUTCAR, or XDATCAR without labels.

    A path is a file, or a folder in which runs are looked for at any depth; of a run with several
    of these files the first counts. The energy is the free energy TOTEN, whose derivative the
    forces are; `keys` can name another of vasprun.xml, as ``{energy: energy}`` for the energy at
    zero smearing. Steps of an OUTCAR whose electrons did not converge are left out.
    """

    default_keys: ClassVar[Mapping[str, str]] = {"energy": "free_energy"}

    def open(self, path: Path, part: str) -> FrameList:
        """See `FileDataModule.open`."""
        if part:
            raise InputError(f"{path}::{part}: a run has no parts")
        files = _runs(path) if path.is_dir() else [path]
        if not files:
            raise InputError(f"{path} holds no run of VASP: there is no {' or '.join(_READERS)}")
        frames = FrameList(frame for file in files for frame in _read(file))
        if len(frames) == 0:
            raise InputError(f"{path} holds no ionic step")
        return frames


def _runs(folder: Path) -> list[Path]:
    """One file for each run; OUTCAR.a and vasprun.a.xml of one folder are of the same run."""
    runs: dict[tuple[Path, str], Path] = {}
    for kind in _READERS:
        for file in sorted(folder.rglob(f"{kind}*")):
            name = file.name.removeprefix(kind).removesuffix(".xml")
            runs.setdefault((file.parent, name), file)
    return [runs[run] for run in sorted(runs)]


def _read(file: Path) -> list[Frame]:
    for kind, reader in _READERS.items():
        if file.name.startswith(kind):
            return reader(file)
    raise InputError(f"{file}: unknown kind of file; names begin with {', '.join(_READERS)}")


def _vasprun(file: Path) -> list[Frame]:
    frames = _ase(file, "vasp-xml")
    n_complete, is_whole = _steps(file)
    if not is_whole:
        warnings.warn(
            f"{file} is cut off; its {n_complete} complete ionic steps are read", stacklevel=2
        )
    return frames[:n_complete]


def _steps(file: Path) -> tuple[int, bool]:
    """How many ionic steps a vasprun.xml has to their end, and whether it has its own end."""
    n_complete = 0
    try:
        for _, element in ElementTree.iterparse(file):
            n_complete += element.tag == "calculation"
    except ElementTree.ParseError:
        return n_complete, False
    return n_complete, True


def _outcar(file: Path) -> list[Frame]:
    frames = []
    for frame in read_system(file, "vasp/outcar"):
        values = {"free_energy": frame.values["energy"], "forces": frame.values["forces"]}
        if "virial" in frame.values:  # as ASE gives it for a vasprun.xml
            values["stress"] = -frame.values["virial"] / abs(np.linalg.det(frame.cell))
        frames.append(replace(frame, values=values))
    return frames


def _xdatcar(file: Path) -> list[Frame]:
    return _ase(file, "vasp-xdatcar")


def _ase(file: Path, form: str) -> list[Frame]:
    # ASE's readers raise whatever their format's parser happens to raise.
    try:
        structures = read(file, index=":", format=form)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"ASE cannot read {file} as {form}: {reason}") from error
    return [
        Frame.from_atoms(atoms, f"{file}, frame {index}") for index, atoms in enumerate(structures)
    ]


# By the beginning of a file's name; of one run's files the first is read.
_READERS: dict[str, Callable[[Path], list[Frame]]] = {
    "vasprun": _vasprun,
    "OUTCAR": _outcar,
    "XDATCAR": _xdatcar,
}
