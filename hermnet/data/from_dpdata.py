"""What dpdata reads, as frames: eV, A, eV/A, and the virial in eV, positive under compression."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hermnet.data.frames import Frame
from hermnet.elements import number
from hermnet.errors import InputError

# dpdata's names of labels, and the keys they get here.
_LABELS = {"energies": "energy", "forces": "forces", "virials": "virial"}


def read_system(path: Path, form: str, **options: Any) -> Iterator[Frame]:
    """The frames of a file or folder.

    Args:
        path: what to read.
        form: dpdata's name of the format, such as ``vasp/outcar``.
        **options: of dpdata's reader.

    Raises:
        InputError: if dpdata cannot read it, or it has atoms that are no elements.
    """
    import dpdata  # late: it looks for all of its formats

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of types that only other formats have
            system = dpdata.LabeledSystem(str(path), fmt=form, **options)
    except Exception as error:  # whatever the reader of a format happens to raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"dpdata cannot read {path} as {form}: {reason}") from error
    yield from system_frames(system.data, path)


def system_frames(data: dict[str, Any], path: Path) -> Iterator[Frame]:
    """The frames of one of dpdata's systems, whose frames have the same atoms.

    Raises:
        InputError: for a name that is no element.
    """
    try:
        elements = np.array([number(name) for name in data["atom_names"]])
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    numbers = elements[data["atom_types"]]
    pbc = np.full(3, not data.get("nopbc", False))
    labels = {key: np.asarray(data[name]) for name, key in _LABELS.items() if name in data}
    for index, (cell, positions) in enumerate(zip(data["cells"], data["coords"], strict=True)):
        values = {key: array[index] for key, array in labels.items()}
        yield Frame(numbers, positions, cell, pbc, values, f"{path}, frame {index}")
