"""From a command's arguments to files: read, compute, print, write."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from hermnet.calculator import HermNetCalculator
from hermnet.errors import InputError, at_least
from hermnet.properties.displacement import Displacement, mean_square_displacement
from hermnet.properties.dynamics import run_dynamics
from hermnet.properties.elasticity import Elasticity, elastic_constants
from hermnet.properties.equation_of_state import EquationOfState, equation_of_state
from hermnet.properties.phonons import Phonons, phonons
from hermnet.properties.radial_distribution import RadialDistribution, radial_distribution
from hermnet.properties.relaxation import Relaxation, relax
from hermnet.properties.report import Report, check_output
from hermnet.properties.settings import DynamicsSettings, MsdSettings, RdfSettings
from hermnet.properties.structures import read_frames, read_structure
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
    """The calculator of a command line's checkpoints; torch takes as many threads as it says."""
    torch.set_num_threads(at_least("--threads", arguments.threads, 1))
    return HermNetCalculator(
        arguments.checkpoint, arguments.device, arguments.dtype, arguments.compile
    )


def compute(name: str, arguments: argparse.Namespace, settings: Any) -> None:
    """A property of a structure, printed and written.

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
    atoms = read_structure(arguments.source)
    report = function(atoms, make_calculator(arguments), settings)
    report.save(output, arguments.overwrite)
    _tell(report, output)


def simulate(arguments: argparse.Namespace, settings: DynamicsSettings) -> None:
    """A simulation of a structure, which may go on from where it was.

    Raises:
        InputError: for whatever a user can mend, and when the simulation has to end early.
    """
    if arguments.resume and arguments.overwrite:
        raise InputError("give --resume or --overwrite, not both: one keeps what the other removes")
    report = run_dynamics(
        read_structure(arguments.source),
        make_calculator(arguments),
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
