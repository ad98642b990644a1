"""From where a simulation can go on: written whole or not at all."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from hermnet.errors import InputError

Array = NDArray[Any]
_INTEGRATOR = "integrator_"


@dataclass(frozen=True)
class State:
    """A simulation after a step.

    Attributes:
        step: how many are done.
        positions: (n_atoms, 3) in A.
        momenta: (n_atoms, 3) in ASE's units.
        cell: (3, 3) in A.
        integrator: its inner state.
        sizes: bytes of each file that are valid, by its name.
    """

    step: int
    positions: Array
    momenta: Array
    cell: Array
    integrator: dict[str, Array]
    sizes: dict[str, int]

    @classmethod
    def of(
        cls, step: int, atoms: Atoms, integrator: dict[str, Array], sizes: dict[str, int]
    ) -> State:
        """What a simulation is now."""
        return cls(step, atoms.positions, atoms.get_momenta(), atoms.cell.array, integrator, sizes)

    def write(self, path: Path) -> None:
        """Replace the file, even if the computer stops in between."""
        part = path.with_name(path.name + ".part")
        arrays: dict[str, Any] = {
            "step": self.step,
            "positions": self.positions,
            "momenta": self.momenta,
            "cell": self.cell,
            "names": np.array(list(self.sizes)),
            "sizes": np.array(list(self.sizes.values()), dtype=np.int64),
            **{_INTEGRATOR + name: value for name, value in self.integrator.items()},
        }
        with part.open("wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)

    @classmethod
    def read(cls, path: Path) -> State:
        """Read it again.

        Raises:
            InputError: if there is none, or something else.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                content: Mapping[str, Array] = dict(arrays)
            return cls(
                step=int(content["step"]),
                positions=content["positions"],
                momenta=content["momenta"],
                cell=content["cell"],
                integrator={
                    name.removeprefix(_INTEGRATOR): value
                    for name, value in content.items()
                    if name.startswith(_INTEGRATOR)
                },
                sizes=dict(zip(content["names"].tolist(), content["sizes"].tolist(), strict=True)),
            )
        except FileNotFoundError as error:
            raise InputError(f"there is no simulation to resume: {path} is missing") from error
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise InputError(f"{path} does not hold the state of a simulation: {error}") from error

    def put_on(self, atoms: Atoms) -> None:
        """Move atoms to where they were.

        Raises:
            InputError: if there are more or fewer of them.
        """
        if len(self.positions) != len(atoms):
            raise InputError(
                f"the simulation to resume has {len(self.positions)} atoms, the structure "
                f"{len(atoms)}"
            )
        atoms.set_cell(self.cell)
        atoms.set_positions(self.positions, apply_constraint=False)
        atoms.set_momenta(self.momenta, apply_constraint=False)
