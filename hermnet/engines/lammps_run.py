"""A LAMMPS script from start to end, with a potential where it asks for one."""

from __future__ import annotations

import queue
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

from hermnet.calculator import HermNetCalculator
from hermnet.engines.lammps import ExternalPotential, check_launcher, check_ranks
from hermnet.engines.lammps_library import open_lammps, reason
from hermnet.engines.lammps_script import Part, read_parts
from hermnet.errors import InputError

_LONGEST_STEP = 60.0  # s; what an interrupt waits for the step underway


def run_script(
    path: str | Path,
    calculator: HermNetCalculator,
    elements: Sequence[str] = (),
    arguments: Sequence[str] = (),
) -> None:
    """Run a script of LAMMPS; each ``fix ... external pf/callback`` in it gets the potential.

    Args:
        path: the script; see `hermnet.engines.lammps_script`.
        calculator: the potential.
        elements: symbols of the atom types in order; by default the labels of the types.
        arguments: of LAMMPS's command line, such as ``("-log", "none")``.

    Raises:
        InputError: for whatever a user can mend, errors of LAMMPS itself among them.
    """
    parts = read_parts(path)
    check_launcher()
    engine = open_lammps(arguments)
    check_ranks(engine)
    _Session(engine, calculator, elements).run(parts)


@final
class _Session:
    """LAMMPS in a thread of its own.

    No exception can cross LAMMPS, and a run that it ends early is followed by the next command of
    the script, which might write what was never computed. So when the potential fails, the thread
    stops where it is, for good.
    """

    def __init__(self, engine: Any, calculator: HermNetCalculator, elements: Sequence[str]) -> None:
        self._engine = engine
        self._calculator = calculator
        self._elements = elements
        self._potentials: list[ExternalPotential] = []
        self._ends: queue.Queue[BaseException | None] = queue.Queue()

    def run(self, parts: Sequence[Part]) -> None:
        """Run all parts.

        Raises:
            InputError: as `run_script`.
        """
        threading.Thread(target=self._work, args=(parts,), daemon=True).start()
        try:
            failure = self._ends.get()
        except KeyboardInterrupt:
            for potential in self._potentials:
                potential.stop.set()
            self._ends.get(timeout=_LONGEST_STEP)
            raise
        if failure is not None:
            self._engine.flush_buffers()
            raise failure
        self._engine.close()

    def _work(self, parts: Sequence[Part]) -> None:
        try:
            with tempfile.TemporaryDirectory() as folder:
                for part in parts:
                    self._run_part(part, Path(folder) / "part.in")
        except BaseException as error:
            self._ends.put(error)
        else:
            self._ends.put(None)

    def _run_part(self, part: Part, file: Path) -> None:
        file.write_text(part.text, encoding="utf-8")
        try:
            self._engine.file(str(file))
        except Exception as error:  # LAMMPS's module raises nothing more special
            raise InputError(f"LAMMPS: {reason(error)}") from error
        if part.fix_id is not None:
            self._potentials.append(
                ExternalPotential(
                    self._engine, part.fix_id, self._calculator, self._elements, self._halt
                )
            )

    def _halt(self, error: BaseException) -> None:
        self._ends.put(error)
        threading.Event().wait()
