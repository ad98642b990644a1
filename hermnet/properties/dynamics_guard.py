"""When a simulation has left what its potential knows, and going on makes no sense."""

from __future__ import annotations

import math

import numpy as np
from ase import Atoms

from hermnet.errors import InputError
from hermnet.neighbors import graph_from_atoms
from hermnet.properties.dynamics_log import disagreement
from hermnet.properties.settings import DynamicsSettings

_LARGEST_MOVE = 0.5  # A in one step; a bond's length within two
_LONELY_EVERY = 10  # steps at least, for it is a search


class Guard:
    """Looks at every step.

    Args:
        atoms: as they are at the start.
        settings: of the simulation.
        cutoff: of the potential in A; None if it is not known.
    """

    def __init__(self, atoms: Atoms, settings: DynamicsSettings, cutoff: float | None) -> None:
        self._settings = settings
        self._cutoff = cutoff
        self._positions = atoms.get_positions()
        self._lonely = self._alone(atoms)

    def check(self, atoms: Atoms, step: int) -> None:
        """Look at atoms after a step.

        Raises:
            InputError: if atoms fly apart, or the members of a committee disagree.
        """
        moved = np.linalg.norm(atoms.positions - self._positions, axis=1)
        self._positions = atoms.get_positions()
        energy = atoms.get_potential_energy()
        if not math.isfinite(energy) or not np.isfinite(moved).all():
            raise InputError("energy or positions are no finite numbers any more")
        if moved.max() > _LARGEST_MOVE:
            raise InputError(
                f"atoms fly apart: {_name(atoms, int(moved.argmax()))} moved by "
                f"{moved.max():.2f} A in one step; start from a relaxed structure or take a "
                "smaller timestep"
            )
        kelvin = atoms.get_temperature()
        if kelvin > self._settings.max_temperature:
            raise InputError(
                f"atoms fly apart: the temperature is {kelvin:.0f} K, beyond max_temperature "
                f"{self._settings.max_temperature:g} K"
            )
        self._check_committee(atoms)
        if step % max(self._settings.every, _LONELY_EVERY) == 0:
            self._check_lonely(atoms)

    def _check_committee(self, atoms: Atoms) -> None:
        limit = self._settings.max_disagreement
        spread, atom = disagreement(atoms.calc.results)
        if limit is not None and spread > limit:
            raise InputError(
                f"the committee disagrees: the force on {_name(atoms, atom)} has a standard "
                f"deviation of {spread:.3g} eV/A, beyond max_disagreement {limit:g} eV/A"
            )

    def _check_lonely(self, atoms: Atoms) -> None:
        escaped = sorted(self._alone(atoms) - self._lonely)
        if escaped:
            raise InputError(
                f"atoms fly apart: {_name(atoms, escaped[0])} has no neighbor within the "
                f"potential's cutoff of {self._cutoff:g} A any more"
            )

    def _alone(self, atoms: Atoms) -> set[int]:
        """Atoms without a neighbor."""
        if self._cutoff is None:
            return set()
        centers = graph_from_atoms(atoms, self._cutoff).centers.tolist()
        return set(range(len(atoms))) - set(centers)


def _name(atoms: Atoms, index: int) -> str:
    return f"atom {index} ({atoms.symbols[index]})"
