"""DeePMD-kit's npy systems; the arrays are NumPy's own files, so NumPy reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from hermnet.data.files import FileDataModule
from hermnet.data.fingerprint import FileStamp
from hermnet.data.frames import Frame, FrameList
from hermnet.data.slices import sliced
from hermnet.elements import number
from hermnet.errors import InputError

Array = NDArray[Any]

_STRUCTURE = ("coord", "box", "real_atom_types")  # arrays that are no values
_PADDING = -1  # the type of an atom that only fills a row of the mixed layout


@final
class DeePMD(FileDataModule):
    """Systems of DeePMD-kit: folders with type.raw, type_map.raw and set.*/*.npy.

    A path is a system, or a folder in which all systems are found. Units are eV, A and eV/A; the
    virial is in eV and positive under compression. Structures are periodic unless the system has a
    file ``nopbc``. In the mixed layout (``real_atom_types.npy``) frames have elements of their own.
    Frames have the arrays of a set by their names, and ``system``, the folder, for `group_key`. A
    part is a slice of the frames, such as ``water/data_0::0:100``.

    Args:
        type_map: element symbols of the types 0, 1, ..., instead of the system's type_map.raw.

    Raises:
        InputError: for a symbol that is no element.
    """

    default_keys: ClassVar = {"forces": "force", "stress": "virial"}
    default_stress: ClassVar = {"kind": "virial", "positive": "compression"}

    def __init__(self, *, type_map: list[str] | None = None, **common: Any) -> None:
        super().__init__(**common)
        self.type_map = None if type_map is None else np.array([number(name) for name in type_map])

    def open(self, path: Path, part: str) -> FrameList:
        """See `FileDataModule.open`."""
        if not path.is_dir():
            raise InputError(f"{path} is a file; a DeePMD system is a folder with a type.raw")
        stamp = FileStamp.of(path)
        systems = sorted(file.parent for file in path.rglob("type.raw"))
        if not systems:
            there = ", ".join(sorted(other.name for other in path.iterdir())[:5]) or "nothing"
            raise InputError(f"no DeePMD system (a folder with type.raw) in {path}; it has {there}")
        frames = [frame for system in systems for frame in self._of(system)]
        return sliced(frames, stamp, part, "deepmd", str(self.type_map))

    def _of(self, system: Path) -> list[Frame]:
        types = _words(system / "type.raw")
        try:
            atom_types = np.array(types, dtype=np.int64)
        except ValueError as error:
            raise InputError(f"{system}/type.raw is no list of integers: {error}") from error
        sets = sorted(folder for folder in system.glob("set.*") if folder.is_dir())
        if not sets:
            raise InputError(f"{system} has no set.000 with the arrays of its frames")
        names = _names(sets)
        periodic = not (system / "nopbc").exists()
        arrays = [_arrays(folder, names, len(atom_types), periodic) for folder in sets]
        joined = {name: _joined(sets, name, arrays) for name in names}
        n_frames = len(joined["coord"])
        rows = joined.get("real_atom_types", np.tile(atom_types, (n_frames, 1)))
        numbers = self._numbers(system, rows.astype(np.int64))
        return [
            _frame(system, joined, index, numbers[index], periodic) for index in range(n_frames)
        ]

    def _numbers(self, system: Path, types: Array) -> Array:
        """Atomic numbers of types of any shape, 0 where an atom is padding."""
        type_map = self.type_map
        if type_map is None:
            path = system / "type_map.raw"
            if not path.exists():
                raise InputError(
                    f"{system} has no type_map.raw: give the elements of its types 0 to "
                    f"{types.max()} in this order, such as type_map: [O, H]"
                )
            try:
                type_map = np.array([number(word) for word in _words(path)])
            except InputError as error:
                raise InputError(f"{path}: {error}; give type_map instead") from error
        if types.max(initial=-1) >= len(type_map) or types.min(initial=0) < _PADDING:
            worst = types.max() if types.max() >= len(type_map) else types.min()
            raise InputError(
                f"{system} has type {worst}, the type_map only 0 to {len(type_map) - 1}"
            )
        return np.where(types == _PADDING, 0, np.append(type_map, 0)[types])


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}") from error


def _names(sets: Sequence[Path]) -> list[str]:
    """The arrays that all sets have; what only some have is refused."""
    found = {folder: {file.stem for file in folder.glob("*.npy")} for folder in sets}
    every = set().union(*found.values())
    for folder, names in found.items():
        for name in sorted(every - names):
            other = next(other for other in sets if name in found[other])
            raise InputError(f"{folder} lacks {name}.npy, which {other.name} has")
    return sorted(every)


def _arrays(folder: Path, names: Sequence[str], n_atoms: int, periodic: bool) -> dict[str, Array]:
    """The arrays of a set, a row for each frame."""
    for name in ("coord", "box") if periodic else ("coord",):
        if name not in names:
            hint = "; molecules have a file nopbc in the system" if name == "box" else ""
            raise InputError(f"{folder} lacks {name}.npy{hint}")
    arrays = {name: _load(folder / f"{name}.npy") for name in names}
    n_frames = len(arrays["coord"])
    needed = {"coord": 3 * n_atoms, "box": 9, "real_atom_types": n_atoms}
    for name, array in arrays.items():
        if len(array) != n_frames:
            raise InputError(
                f"{folder}/{name}.npy has {len(array)} rows, coord.npy {n_frames}, one per frame"
            )
        arrays[name] = array.reshape(n_frames, -1)
        width = needed.get(name, arrays[name].shape[1])
        if arrays[name].shape[1] != width:
            what = "a cell" if name == "box" else f"the {n_atoms} atoms of type.raw"
            raise InputError(
                f"{folder}/{name}.npy has {arrays[name].shape[1]} numbers per frame; {what} "
                f"{'needs' if name == 'box' else 'need'} {width}"
            )
    return arrays


def _joined(sets: Sequence[Path], name: str, arrays: Sequence[dict[str, Array]]) -> Array:
    """An array of all sets."""
    widths: dict[int, str] = {}
    for folder, part in zip(sets, arrays, strict=True):
        widths.setdefault(part[name].shape[1], folder.name)
    if len(widths) > 1:
        found = " and ".join(f"{width} in {where}" for width, where in widths.items())
        raise InputError(f"{sets[0].parent}: {name}.npy has other numbers per frame: {found}")
    return np.concatenate([part[name] for part in arrays])


def _load(path: Path) -> Array:
    try:
        array: Array = np.load(path, allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    if not isinstance(array, np.ndarray) or array.ndim == 0:
        raise InputError(f"{path} is no array with a row for each frame")
    if array.dtype.kind not in "biuf":
        raise InputError(f"{path} does not hold numbers, but {array.dtype}")
    return array


def _frame(
    system: Path, arrays: dict[str, Array], index: int, numbers: Array, periodic: bool
) -> Frame:
    real = numbers > 0
    values: dict[str, Any] = {"system": str(system)}
    for name, array in arrays.items():
        if name not in _STRUCTURE:
            values[name] = array[index] if array.shape[1] > 1 else array[index, 0]
    if "force" in values and values["force"].size == 3 * len(numbers):
        values["force"] = values["force"].reshape(-1, 3)[real]
    cell = arrays["box"][index].reshape(3, 3) if periodic else np.zeros((3, 3))
    return Frame(
        numbers[real],
        arrays["coord"][index].reshape(-1, 3)[real],
        cell,
        np.full(3, periodic),
        values,
        f"{system}, frame {index}",
    )
