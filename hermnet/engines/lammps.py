"""LAMMPS with a potential: energy, forces and virial through ``fix external``."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from hermnet.calculator import HermNetCalculator
from hermnet.elements import number, symbol
from hermnet.errors import InputError, nearest

Array = NDArray[Any]
_WANTED = ["energy", "forces", "stress"]
_TO_LAMMPS = [0, 1, 2, 5, 4, 3]  # xx yy zz yz xz xy of ASE as xx yy zz xy xz yz
# Open MPI and SLURM say here how many processes they have started, and which one this is.
_LAUNCHERS = {
    "OMPI_COMM_WORLD_SIZE": "OMPI_COMM_WORLD_RANK",
    "SLURM_STEP_NUM_TASKS": "SLURM_PROCID",
}
SPREADS = ("energy_std", "forces_std")


@final
class ExternalPotential:
    """What a ``fix external pf/callback`` asks at every step.

    The structure is handed on in the order of atom IDs, and an atom that LAMMPS has wrapped back
    into the box stays where it was, so that the neighbor list lasts.

    A committee's standard deviations stand in the fix's vector: of the energy (eV) in the first
    entry, the largest of a force component (eV/A) in the second.

    Args:
        engine: an instance of LAMMPS, ``lammps.lammps``.
        fix_id: of the fix, which must be there.
        calculator: of one potential or a committee.
        elements: symbols of the atom types in order; by default the labels of the types.
        on_failure: what to do with an exception, since none can cross LAMMPS; by default the run
            ends after the step, and the exception waits in `failure`.

    Attributes:
        failure: what went wrong.
        stop: set by another thread, it makes the next step a failure.

    Raises:
        InputError: for several MPI ranks, other units than metal, and atom types without an
            element or with one that the calculator does not know.
    """

    def __init__(
        self,
        engine: Any,
        fix_id: str,
        calculator: HermNetCalculator,
        elements: Sequence[str] = (),
        on_failure: Callable[[BaseException], None] | None = None,
    ) -> None:
        check_ranks(engine)
        _check_units(engine)
        self.failure: BaseException | None = None
        self.stop = threading.Event()
        self._engine = engine
        self._fix_id = fix_id
        self._calculator = calculator
        self._numbers = _numbers_of_types(engine, elements, calculator)
        self._on_failure = on_failure or self._end_run
        self._last: tuple[Array, Array] | None = None  # atom IDs and positions of the step before
        self._spreads = all(name in calculator.implemented_properties for name in SPREADS)
        engine.command(f"fix_modify {fix_id} energy yes virial yes")
        if self._spreads:
            engine.fix_external_set_vector_length(fix_id, len(SPREADS))
        engine.set_fix_external_callback(fix_id, self._called, None)

    def _called(self, _: Any, step: int, n_atoms: int, tags: Array, x: Array, f: Array) -> None:
        """What LAMMPS calls: fill the forces ``f`` in and report energy and virial."""
        try:
            if self.stop.is_set():
                raise KeyboardInterrupt
            self._compute(n_atoms, tags, x, f)
        except BaseException as error:  # would be printed and forgotten
            f[:] = 0.0
            self._on_failure(error)

    def _end_run(self, error: BaseException) -> None:
        self.failure = error
        self._engine.force_timeout()

    def _compute(self, n_atoms: int, tags: Array, x: Array, f: Array) -> None:
        order = np.argsort(tags, kind="stable")
        types = self._engine.numpy.extract_atom("type")[:n_atoms]
        cell, pbc = box_of(self._engine)
        positions = self._unwrapped(tags[order], x[order], cell, pbc)
        atoms = Atoms(self._numbers[types[order]], positions, cell=cell, pbc=pbc)
        self._calculator.calculate(atoms, _WANTED)
        found = self._calculator.results
        f[order] = found["forces"]
        virial = -atoms.get_volume() * found["stress"][_TO_LAMMPS]
        self._report(found, virial, order)

    def _unwrapped(self, tags: Array, x: Array, cell: Array, pbc: Array) -> Array:
        """Each atom's image that is nearest to where the atom was."""
        if self._last is not None and np.array_equal(self._last[0], tags):
            jumps = np.round((self._last[1] - x) @ np.linalg.inv(cell))
            x = x + np.where(pbc, jumps, 0.0) @ cell
        self._last = tags, x
        return x

    def _report(self, found: dict[str, Any], virial: Array, order: Array) -> None:
        engine, fix_id = self._engine, self._fix_id
        engine.fix_external_set_energy_global(fix_id, float(found["energy"]))
        engine.fix_external_set_virial_global(fix_id, virial.tolist())
        if "energies" in found:
            energies = np.empty(len(order))
            energies[order] = found["energies"]
            engine.fix_external_set_energy_peratom(fix_id, energies.tolist())
        if self._spreads:
            for index, name in enumerate(SPREADS, start=1):
                engine.fix_external_set_vector(fix_id, index, float(np.max(found[name])))


def box_of(engine: Any) -> tuple[Array, Array]:
    """Lattice vectors (3, 3) in A as rows, and which directions are periodic (3,)."""
    low, high, xy, yz, xz, periodic, _ = engine.extract_box()
    lx, ly, lz = np.subtract(high, low)
    return np.array([[lx, 0, 0], [xy, ly, 0], [xz, yz, lz]]), np.array(periodic, dtype=bool)


def check_launcher() -> None:
    """Refuse several processes of a launcher whose MPI may be another one than LAMMPS's.

    LAMMPS would not see the others, or wait for them forever.

    Raises:
        InputError: in the first of them; the others end silently.
    """
    for size, rank in _LAUNCHERS.items():
        _refuse_several(int(os.environ.get(size, "1")), int(os.environ.get(rank, "0")))


def check_ranks(engine: Any) -> None:
    """Refuse more than one MPI rank.

    Raises:
        InputError: in the first of them; the others end silently.
    """
    _refuse_several(*map(engine.extract_setting, ("world_size", "world_rank")))


def _refuse_several(n_ranks: int, rank: int) -> None:
    if n_ranks == 1:
        return
    if rank > 0:
        raise SystemExit(2)
    raise InputError(
        f"hermnet lammps computes in one process, not on {n_ranks} MPI ranks; start it without "
        "mpiexec, with --threads or on a GPU"
    )


def _check_units(engine: Any) -> None:
    units = engine.extract_global("units")
    if units != "metal":
        raise InputError(
            f"the script has 'units {units}'; a potential is in eV and A: write 'units metal'"
        )


def _numbers_of_types(engine: Any, elements: Sequence[str], calculator: HermNetCalculator) -> Array:
    """Atomic numbers by atom type, which LAMMPS counts from 1."""
    n_types = engine.extract_global("ntypes")
    labels = _labels(engine)
    if elements and len(elements) != n_types:
        raise InputError(
            f"--elements names {len(elements)} elements, but the script has {n_types} atom types"
        )
    numbers = np.zeros(n_types + 1, dtype=int)
    for kind in range(1, n_types + 1):
        label = labels.get(kind)
        name = elements[kind - 1] if elements else label
        if name is None:
            raise InputError(
                f"atom type {kind} has no element: name those of types 1 to {n_types} with "
                "--elements, or in the script with 'labelmap atom 1 Cu 2 Zr'"
            )
        if label not in (None, name):
            raise InputError(
                f"--elements says that atom type {kind} is {name}, its label in the script {label}"
            )
        numbers[kind] = number(name)
        _check_known(numbers[kind], kind, calculator)
    return numbers


def _labels(engine: Any) -> dict[int, str]:
    """The elements that the script's labels of atom types name."""
    found = {}
    engine.set_show_error(0)  # asking is no error of the script
    try:
        for name in map(symbol, range(1, 119)):
            if engine.eval(f"is_typelabel(atom,{name})"):
                found[int(engine.eval(f"label2type(atom,{name})"))] = name
    except Exception:  # there are no labels
        return {}
    finally:
        engine.set_show_error(1)
    return found


def _check_known(z: int, kind: int, calculator: HermNetCalculator) -> None:
    if z not in calculator.elements:
        raise InputError(
            f"atom type {kind} is {symbol(z)}, which the potential does not know; "
            f"{nearest(symbol(z), map(symbol, calculator.elements))}"
        )
