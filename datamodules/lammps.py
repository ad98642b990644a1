"""Text dumps of LAMMPS, parsed by ASE."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
from ase import Atoms
from ase.io import read
from numpy.typing import NDArray

from hermnet.data.dump import Survey, survey
from hermnet.data.files import FileDataModule
from hermnet.data.fingerprint import FileStamp
from hermnet.data.frames import Frame, FrameList
from hermnet.data.slices import sliced
from hermnet.elements import number
from hermnet.errors import InputError

# Of LAMMPS' unit styles; forces are in energy per length.
_STYLES: Mapping[str, Mapping[str, str]] = {
    "metal": {"energy": "eV", "length": "A"},
    "real": {"energy": "kcal/mol", "length": "A"},
    "electron": {"energy": "Hartree", "length": "Bohr"},
}
_OWN = "metal"  # the style in which ASE leaves numbers as they are


@final
class Lammps(FileDataModule):
    """Frames of LAMMPS text dumps, with forces and with energies from another file.

    Forces are the columns fx, fy and fz unless `forces` names others. Elements come from the column
    ``element`` or from `type_map`. Other columns that LAMMPS computes (``c_``, ``v_``, ``f_``) are
    values of a frame by their names. A part is a slice of the frames, such as ``md.dump::0:1000``.

    Args:
        type_map: element symbols of the atom types 1, 2, ..., instead of the column ``element``.
        style: of the units in the dump and the energies: metal (eV, A), real (kcal/mol, A) or
            electron (Hartree, Bohr).
        energies: text file with one total energy per line and frame, or with time step and energy
            (as written by ``fix print``); ``*`` in it stands for the dump's name without suffix.
        forces: the three columns with the forces, where a compute put them, such as
            ``["c_f[1]", "c_f[2]", "c_f[3]"]``; in the style's units too.
        pbc: which directions are periodic, for dumps that do not say so themselves.

    Raises:
        InputError: for a symbol that is no element, or `pbc` or `forces` that are not three.
    """

    def __init__(
        self,
        *,
        type_map: list[str] | None = None,
        style: Literal["metal", "real", "electron"] = "metal",
        energies: str | None = None,
        forces: list[str] | None = None,
        pbc: list[bool] | None = None,
        **common: Any,
    ) -> None:
        units = {**_STYLES[style], **(common.pop("units", None) or {})}
        super().__init__(units=units, **common)
        self.type_map = None if type_map is None else np.array([number(name) for name in type_map])
        self.energies = energies
        if pbc is not None and len(pbc) != 3:
            raise InputError(f"pbc is for the directions x, y and z, not {len(pbc)} of them")
        self.pbc = pbc
        if forces is not None and len(forces) != 3:
            raise InputError(f"forces are three columns, for x, y and z, not {len(forces)}")
        self.forces = forces
        self._energies_of: dict[Path, Path] = {}  # the dump that a file of energies belongs to

    def open(self, path: Path, part: str) -> FrameList:
        """See `FileDataModule.open`."""
        stamp = FileStamp.of(path)
        dump = survey(path)
        if self.type_map is None and "element" not in dump.columns:
            raise InputError(
                f"{path} names no elements: give those of its types 1, 2, ... as type_map, such as "
                f"[Fe, O], or dump the column 'element' (columns: {', '.join(dump.columns)})"
            )
        if self.pbc is None and not dump.tells_pbc:
            raise InputError(
                f"{path} does not say what is periodic: give pbc, such as [true, true, false]"
            )
        # ASE's reader raises whatever happens to go wrong in it.
        try:
            every = slice(0, dump.n_complete)
            found: Any = read(path, index=every, format="lammps-dump-text", units=_OWN)
        except Exception as error:
            raise InputError(f"ASE cannot read {path}: {type(error).__name__}: {error}") from error
        energies = self._energies(path, found)
        frames = [
            self._frame(atoms, f"{path}, frame {index}", dump, energies[index])
            for index, atoms in enumerate(found)
        ]
        how = (self.type_map, self.forces, self.pbc, energies)
        return sliced(frames, stamp, part, "lammps", *map(str, how))

    def _frame(self, atoms: Atoms, name: str, dump: Survey, energy: float | None) -> Frame:
        frame = Frame.from_atoms(atoms, name)
        values = {key: value for key, value in frame.values.items() if key != "energy"}  # ASE's 0
        if energy is not None:
            values["energy"] = energy
        if self.forces is not None:
            values["forces"] = self._force_columns(values, name, dump)
        numbers = frame.numbers
        if self.type_map is not None:
            numbers = self._numbers(name, dump, np.asarray(values.get("type", [])))
        pbc = frame.pbc if self.pbc is None else np.array(self.pbc)
        return Frame(numbers, frame.positions, frame.cell, pbc, values, name)

    def _force_columns(
        self, values: Mapping[str, Any], name: str, dump: Survey
    ) -> NDArray[np.float64]:
        assert self.forces is not None
        absent = [column for column in self.forces if column not in dump.columns]
        if absent:
            known = ", ".join(dump.columns)
            raise InputError(f"{name} has no column '{absent[0]}' for forces (columns: {known})")
        columns = [np.asarray(values[column], np.float64).reshape(-1) for column in self.forces]
        return np.stack(columns, axis=1)  # (n_atoms, 3)

    def _numbers(self, name: str, dump: Survey, types: NDArray[Any]) -> NDArray[Any]:
        assert self.type_map is not None
        if "type" not in dump.columns:
            known = ", ".join(dump.columns)
            raise InputError(f"{name} has no column 'type' for type_map (columns: {known})")
        outside = types[(types < 1) | (types > len(self.type_map))]
        if len(outside):
            known = f"1 to {len(self.type_map)}"
            raise InputError(f"{name} has atom type {outside[0]}, the type_map only {known}")
        numbers: NDArray[Any] = self.type_map[types - 1]
        return numbers

    def _energies(self, path: Path, frames: list[Atoms]) -> list[float | None]:
        """The energy of each frame, None for all where there are none."""
        if self.energies is None:
            if "energy" in self.labelling.keys and self.labelling.missing == "error":
                raise InputError(
                    f"{path}: a dump has no energies: give `energies`, a file with one number per "
                    "frame, or labels without energy"
                )
            return [None] * len(frames)
        file = Path(self.energies.replace("*", path.name.split(".")[0])).expanduser()
        other = self._energies_of.setdefault(file, path)
        if other != path:
            raise InputError(
                f"energies: {file} is of {other}, not of {path}; write * for the dump's name"
            )
        try:
            table = np.loadtxt(file, dtype=np.float64, ndmin=2)
        except (OSError, ValueError) as error:
            raise InputError(f"cannot read {file} as numbers: {error}") from error
        return list(_by_frame(file, table, path, [atoms.info["timestep"] for atoms in frames]))


def _by_frame(file: Path, table: NDArray[Any], dump: Path, steps: list[int]) -> list[float]:
    """The energies of frames, in order or by their time steps."""
    if table.shape[1] == 2:
        by_step = dict(zip(table[:, 0].tolist(), table[:, 1].tolist(), strict=True))
        missing = [step for step in steps if step not in by_step]
        if missing:
            raise InputError(f"{file} has no energy of time step {missing[0]} of {dump}")
        return [by_step[step] for step in steps]
    if table.shape != (len(steps), 1):
        raise InputError(
            f"{file} has {table.shape[0]} rows of {table.shape[1]} numbers; {dump} has "
            f"{len(steps)} frames; give one energy, or time step and energy, for each"
        )
    energies: list[float] = table[:, 0].tolist()
    return energies
