"""Molecular dynamics that can be killed at any time and goes on where it was."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from hermnet.calculator import HermNetCalculator
from hermnet.data.progress import tracked
from hermnet.errors import InputError
from hermnet.properties.dynamics_guard import Guard
from hermnet.properties.dynamics_log import THERMO, TRAJECTORY, Log
from hermnet.properties.dynamics_report import DynamicsSummary
from hermnet.properties.dynamics_state import State
from hermnet.properties.integrators import Integrator, make_integrator
from hermnet.properties.report import check_output, write_frames, write_json
from hermnet.properties.settings import DynamicsSettings
from hermnet.properties.structures import snapshot, with_calculator

STATE, SETTINGS, FINAL = "state.npz", "settings.json", "final.xyz"
FILES = (TRAJECTORY, THERMO, STATE, STATE + ".part", SETTINGS, FINAL, *DynamicsSummary.files)


def run_dynamics(
    atoms: Atoms,
    calculator: Calculator,
    output: str | Path,
    settings: DynamicsSettings | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
) -> DynamicsSummary:
    """Simulate; frames, the log and states to go on from are written on the way.

    A run that was killed and resumed has the frames and rows of one that was not. Velocities are
    those of the structure, or drawn for the temperature if it has none.

    Args:
        atoms: where to start; for `resume`, the same structure again. It stays as it is.
        calculator: forces and, for a barostat, stress.
        output: folder of the simulation.
        settings: what to simulate; for `resume`, the same again, but for more steps.
        resume: whether to go on with the simulation in the folder.
        overwrite: whether to replace it.

    Returns:
        What the log says of the whole simulation.

    Raises:
        InputError: for settings that do not suit the structure, a folder that cannot be used, or,
            with all files written, when atoms fly apart or a committee disagrees.
    """
    chosen, folder = settings or DynamicsSettings(), Path(output)
    moving = with_calculator(atoms, calculator)
    if resume:
        state = State.read(folder / STATE)
        _check_same(folder / SETTINGS, chosen)
        state.put_on(moving)
    else:
        state = None
        check_output(folder, FILES, overwrite)
        _set_velocities(moving, chosen)
    integrator = make_integrator(moving, chosen)
    if state is None:
        _prepare(folder)
    else:
        integrator.restore(state.integrator)
    _write_settings(folder / SETTINGS, chosen)
    problem = _simulate(moving, integrator, chosen, folder, state)
    summary = DynamicsSummary.read(folder / THERMO, len(atoms), chosen)
    summary.write(folder)
    if problem is not None:
        raise problem
    return summary


def _simulate(
    atoms: Atoms,
    integrator: Integrator,
    settings: DynamicsSettings,
    folder: Path,
    state: State | None,
) -> InputError | None:
    """All steps that are left, and what has ended them early."""
    start = 0 if state is None else state.step
    calculator = atoms.calc
    cutoff = calculator.cutoff if isinstance(calculator, HermNetCalculator) else None
    with Log(folder, None if state is None else state.sizes) as log:

        def save(step: int) -> None:
            State.of(step, atoms, integrator.state(), log.sizes()).write(folder / STATE)

        if state is None:
            log.add(atoms, 0, 0.0, integrator.conserved())
            save(0)
        guard = Guard(atoms, settings, cutoff)
        steps = range(start + 1, settings.steps + 1)
        for step in tracked(steps, len(steps), "molecular dynamics"):
            try:
                integrator.set_temperature(settings.temperature_at(step))
                integrator.step()
                guard.check(atoms, step)
            except InputError as error:
                time = step * settings.timestep
                return InputError(f"stopped at step {step} ({time:g} fs): {error}")
            if step % settings.every == 0:
                log.add(atoms, step, step * settings.timestep, integrator.conserved())
            if step % settings.save_every == 0 or step == settings.steps:
                save(step)
        write_frames(folder / FINAL, [snapshot(atoms)])
    return None


def _set_velocities(atoms: Atoms, settings: DynamicsSettings) -> None:
    """Draw momenta from Maxwell and Boltzmann where there are none, scaled to the temperature."""
    if atoms.get_momenta().any() or settings.temperature == 0:
        return
    generator = np.random.default_rng([settings.seed, 0])
    masses = atoms.get_masses()[:, None]
    momenta = generator.standard_normal((len(atoms), 3)) * np.sqrt(masses)
    if len(atoms) > 1 and not atoms.constraints:
        momenta -= masses * momenta.sum(axis=0) / masses.sum()
    atoms.set_momenta(momenta)
    kelvin = atoms.get_temperature()
    if kelvin > 0:  # not all atoms are fixed
        atoms.set_momenta(atoms.get_momenta() * np.sqrt(settings.temperature / kelvin))


def _prepare(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}") from error


def _write_settings(path: Path, settings: DynamicsSettings) -> None:
    write_json(path, asdict(settings))


def _check_same(path: Path, settings: DynamicsSettings) -> None:
    """Refuse to resume what was another simulation."""
    try:
        before: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} does not hold the settings to resume with: {error}") from error
    now = asdict(settings)
    free = {"max_disagreement", "max_temperature", "save_every"}
    if settings.final_temperature is None:
        free.add("steps")
    for name in sorted(set(now) - free):
        if before.get(name) != now[name]:
            raise InputError(
                f"the simulation to resume had {name} = {before.get(name)}, not {now[name]}"
            )
