"""From a command's arguments to files: read, compute, print, write."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator

from hermnet.calculator import HermNetCalculator
from hermnet.compiling import compiling_pays
from hermnet.data.validity import warn_of_loners
from hermnet.errors import InputError, at_least
from hermnet.neighbors import graph_from_atoms
from hermnet.potential import Potential
from hermnet.properties.displacement import Displacement, mean_square_displacement
from hermnet.properties.dynamics import run_dynamics
from hermnet.properties.elasticity import Elasticity, elastic_constants
from hermnet.properties.equation_of_state import EquationOfState, equation_of_state
from hermnet.properties.phonons import Phonons, phonons
from hermnet.properties.radial_distribution import RadialDistribution, radial_distribution
from hermnet.properties.relaxation import Relaxation, relax
from hermnet.properties.remembering import Remembering, identity_of
from hermnet.properties.report import Report, check_output
from hermnet.properties.settings import DynamicsSettings, MsdSettings, RdfSettings
from hermnet.properties.structures import check_structure, read_frames, read_structure
from hermnet.properties.trajectories import Trajectory
from hermnet.properties.vibrations import VibrationalDensity, vibrational_density

_COMPUTED: dict[str, tuple[type[Report], Callable[..., Report]]] = {
    "relax": (Relaxation, relax),
    "eos": (EquationOfState, equation_of_state),
    "elastic": (Elasticity, elastic_constants),
    "phonons": (Phonons, phonons),
}
_ANALYSED: dict[str, type[Report]] = {
    "rdf": RadialDistribution,
    "msd": Displacement,
    "vdos": VibrationalDensity,
}


def make_calculator(arguments: argparse.Namespace) -> HermNetCalculator:
    """The calculator of a command line's checkpoints; torch takes as many threads as it says.

    Raises:
        InputError: for whatever `HermNetCalculator` refuses, and for models without energies.
    """
    torch.set_num_threads(at_least("--threads", arguments.threads, 1))
    calculator = HermNetCalculator(
        arguments.checkpoint, arguments.device, arguments.dtype, bool(arguments.compile)
    )
    if not calculator.potentials:
        raise InputError(
            f"{', '.join(arguments.checkpoint)}: a model of the dipole has no energies and forces, "
            "which this command needs; give a checkpoint of a potential (readout energy)"
        )
    return calculator


def _read(arguments: argparse.Namespace) -> Atoms:
    atoms = read_structure(arguments.source)
    check_structure(atoms)
    return atoms


def _warn_of_loners(atoms: Atoms, calculator: Calculator) -> None:
    """Say so if atoms see no other: lengths in another unit than A look like that."""
    if isinstance(calculator, HermNetCalculator) and len(atoms) > 1:
        seen = np.unique(graph_from_atoms(atoms, calculator.cutoff).centers.numpy())
        warn_of_loners(len(atoms) - len(seen), len(atoms), calculator.cutoff)


def _compile_for_long(atoms: Atoms, calculator: Calculator, n_steps: int) -> None:
    """Compile for a simulation that gains from it; one that goes on decides as the one before."""
    if not isinstance(calculator, HermNetCalculator):
        return
    n_edges = graph_from_atoms(atoms, calculator.cutoff).n_edges
    options = [p.options for p in calculator.potentials if isinstance(p, Potential)]
    sizes = n_steps, n_edges, "inference", calculator.device.type
    if any(compiling_pays(one, *sizes) for one in options):
        print(f"note: compiled for {n_steps} steps; the first waits a minute or so", flush=True)
        calculator.compile()


def compute(name: str, arguments: argparse.Namespace, settings: Any) -> None:
    """A property of a structure, printed and written.

    Until it is written, results lie in ``<output>.partial``, from where `--resume` goes on.

    Args:
        name: of the command.
        arguments: of the command line.
        settings: of the property.

    Raises:
        InputError: for whatever a user can mend; then nothing is written.
    """
    kind, function = _COMPUTED[name]
    output = Path(arguments.output)
    check_output(output, kind.files, arguments.overwrite)
    atoms, calculator = _read(arguments), make_calculator(arguments)
    _warn_of_loners(atoms, calculator)
    so_far = output.with_name(f"{output.name}.partial")
    identity = identity_of(arguments.checkpoint, arguments.dtype)
    remembering = Remembering(calculator, so_far, identity, arguments.resume)
    try:
        report = function(atoms, remembering, settings)
    except InputError:
        remembering.forget()
        raise
    report.save(output, arguments.overwrite)
    remembering.forget()
    _tell(report, output)


def simulate(arguments: argparse.Namespace, settings: DynamicsSettings) -> None:
    """A simulation of a structure, which may go on from where it was.

    Raises:
        InputError: for whatever a user can mend, and when the simulation has to end early.
    """
    if arguments.resume and arguments.overwrite:
        raise InputError("give --resume or --overwrite, not both: one keeps what the other removes")
    atoms, calculator = _read(arguments), make_calculator(arguments)
    _warn_of_loners(atoms, calculator)
    if arguments.compile is None:
        _compile_for_long(atoms, calculator, settings.steps)
    report = run_dynamics(
        atoms,
        calculator,
        arguments.output,
        settings,
        resume=arguments.resume,
        overwrite=arguments.overwrite,
    )
    _tell(report, Path(arguments.output))


def analyse(name: str, arguments: argparse.Namespace, settings: Any) -> None:
    """A property of a trajectory, printed and written.

    Args:
        name: of the command.
        arguments: of the command line.
        settings: of the property.

    Raises:
        InputError: for whatever a user can mend; then nothing is written.
    """
    output = Path(arguments.output)
    check_output(output, _ANALYSED[name].files, arguments.overwrite)
    report: Report
    if isinstance(settings, RdfSettings):
        report = radial_distribution(read_frames(arguments.source), settings)
    else:
        moving = Trajectory.read(arguments.source, settings.interval, settings.skip)
        if isinstance(settings, MsdSettings):
            report = mean_square_displacement(moving, settings)
        else:
            report = vibrational_density(moving, settings)
    report.save(output, arguments.overwrite)
    _tell(report, output)


def _tell(report: Report, output: Path) -> None:
    print("\n".join([*report.lines(), f"written: {output}"]), flush=True)
