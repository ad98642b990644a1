"""QM9 as it is published: an archive of text files, and the list of molecules to leave out.

Ramakrishnan, Dral, Rupp and von Lilienfeld, Sci. Data 1, 140022 (2014), doi 10.1038/sdata.2014.22;
figshare collection 978904.
"""

from __future__ import annotations

import bz2
import hashlib
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hermnet.data.npz import read_npz, write_npz
from hermnet.elements import number, symbol
from hermnet.errors import InputError
from hermnet.host.caches import cache_folder
from hermnet.units import scalar_unit

ARCHIVE = "dsgdb9nsd.xyz.tar.bz2"
ARCHIVE_MD5 = "ad1ebd51ee7f5b3a6e32e974e5d54012"  # figshare's, of 86144227 bytes
EXCLUDED = "uncharacterized.txt"
N_EXCLUDED = 3054
# The numbers of a file's second line after "gdb" and the molecule's index (its table 3).
PROPERTIES = {
    "A": "GHz",
    "B": "GHz",
    "C": "GHz",
    "mu": "D",
    "alpha": "a0^3",
    "homo": "Hartree",
    "lumo": "Hartree",
    "gap": "Hartree",
    "r2": "a0^2",
    "zpve": "Hartree",
    "u0": "Hartree",
    "u298": "Hartree",
    "h298": "Hartree",
    "g298": "Hartree",
    "cv": "cal/(mol K)",
}
# What an isolated atom has, in these units, by atomic number; nothing for zpve (atomref.txt).
ATOMS = {
    "u0": {1: -0.500273, 6: -37.846772, 7: -54.583861, 8: -75.064579, 9: -99.718730},
    "u298": {1: -0.498857, 6: -37.845355, 7: -54.582445, 8: -75.063163, 9: -99.717314},
    "h298": {1: -0.497912, 6: -37.844411, 7: -54.581501, 8: -75.062219, 9: -99.716370},
    "g298": {1: -0.510927, 6: -37.861317, 7: -54.598897, 8: -75.079532, 9: -99.733544},
    "cv": dict.fromkeys((1, 6, 7, 8, 9), 2.981),
}
_FORMAT = 1  # of the copy in the cache; to be raised when the arrays change

Array = NDArray[Any]


def read_archive(path: Path, md5: str | None) -> dict[str, Array]:
    """The molecules of an archive, in its order.

    It is unpacked once; what was read is kept in `cache_folder`.

    Args:
        path: the tar.bz2 file.
        md5: what its checksum must be; None to take any.

    Returns:
        Packed arrays: ``n_atoms``, ``numbers``, ``positions`` (A), ``gdb_index``, and
        `PROPERTIES` in their units.

    Raises:
        InputError: for another checksum, or an archive that is damaged or holds something else.
    """
    found = _checksum(path)
    if md5 is not None and found != md5.lower():
        raise InputError(
            f"{path}: its MD5 is {found}, not {md5.lower()}: download it again, or say "
            "checksum: null if it is meant to be another archive"
        )
    copy = cache_folder() / "qm9" / f"{found}-{_FORMAT}.npz"
    if copy.is_file():
        with suppress(InputError):  # a damaged copy is made anew
            return read_npz(copy)[0]
    arrays = _arrays(path)
    with suppress(OSError):  # without the copy the next run unpacks again
        write_npz(copy, arrays)
    return arrays


def read_excluded(path: Path) -> set[int]:
    """Indices of the molecules that failed the consistency check of geometries.

    Args:
        path: the list; a line that begins with a whole number names a molecule.

    Raises:
        InputError: if it is not there, cannot be read, or names none.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise InputError(
            f"cannot read {path}, the list of QM9's uncharacterized molecules, which are to be "
            f"left out ({error.strerror}); it is published beside the archive, and `exclude` says "
            "where it is"
        ) from error
    words = [line.split()[0] for line in lines if line.strip()]
    found = {int(word) for word in words if word.isdecimal()}
    if not found:
        raise InputError(f"{path} names no molecule: no line begins with a whole number")
    return found


def of_atoms(name: str, path: Path, arrays: Mapping[str, Array]) -> Array:
    """What the isolated atoms of each molecule have together, (n_frames,) in eV or cal/(mol K).

    Args:
        name: one of `ATOMS`.
        path: for messages.
        arrays: ``n_atoms`` and ``numbers`` of packed frames.

    Raises:
        InputError: for an element that QM9 does not have.
    """
    numbers, n_atoms = arrays["numbers"], arrays["n_atoms"]
    unknown = set(np.unique(numbers).tolist()) - set(ATOMS[name])
    if unknown:
        raise InputError(f"{path}: QM9 has no isolated {symbol(min(unknown))}, so no {name} of it")
    own = np.zeros(max(ATOMS[name]) + 1)
    own[list(ATOMS[name])] = list(ATOMS[name].values())
    frames = np.repeat(np.arange(len(n_atoms)), n_atoms)
    sums = np.bincount(frames, weights=own[numbers], minlength=len(n_atoms))
    return sums * scalar_unit(PROPERTIES[name])[0]


def parse_molecule(text: str) -> tuple[list[int], list[list[float]], int, list[float]]:
    """One file: atomic numbers, positions in A, index, and `PROPERTIES` in their order.

    Raises:
        ValueError: if it is no such file.
    """
    lines = text.splitlines()
    n_atoms = int(lines[0])
    tag, index, *properties = lines[1].split()
    if tag != "gdb" or len(properties) != len(PROPERTIES):
        raise ValueError(f"'gdb', an index and {len(PROPERTIES)} numbers expected: {lines[1]!r}")
    atoms = [line.split() for line in lines[2 : 2 + n_atoms]]
    if n_atoms < 1 or len(atoms) < n_atoms or any(len(atom) != 5 for atom in atoms):
        raise ValueError(f"no {n_atoms} lines of an element, three coordinates and a charge")
    numbers = [number(atom[0]) for atom in atoms]
    positions = [[_float(word) for word in atom[1:4]] for atom in atoms]
    return numbers, positions, int(index), [_float(word) for word in properties]


def _arrays(path: Path) -> dict[str, Array]:
    molecules = []
    for name, text in _members(path):
        try:
            molecules.append(parse_molecule(text))
        except (ValueError, IndexError, InputError) as error:
            raise InputError(f"{path}: {name} is no molecule of QM9: {error}") from error
    if not molecules:
        raise InputError(f"{path} holds no .xyz files")
    numbers, positions, indices, properties = zip(*molecules, strict=True)
    columns = np.array(properties).T
    return {
        "n_atoms": np.array([len(own) for own in numbers], dtype=np.int32),
        "numbers": np.concatenate(numbers).astype(np.uint8),
        "positions": np.concatenate(positions),
        "gdb_index": np.array(indices, dtype=np.int32),
        **dict(zip(PROPERTIES, columns, strict=True)),
    }


def _members(path: Path) -> Iterator[tuple[str, str]]:
    """Name and text of each xyz file."""
    try:
        # Opened here, since tarfile's own streams take a truncated file for a short one.
        with bz2.open(path) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                if member.name.endswith(".xyz") and (file := archive.extractfile(member)):
                    yield member.name, file.read().decode("ascii", errors="replace")
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise InputError(f"cannot read {path} as tar.bz2: {error}") from error


def _float(word: str) -> float:
    """A number; Mathematica's exponents, as in ``-1.2*^-6``, among them."""
    return float(word.replace("*^", "e"))


def _checksum(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(
                stream, lambda: hashlib.md5(usedforsecurity=False)
            ).hexdigest()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
