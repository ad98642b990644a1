"""The commands that use a potential: their options, and what they call.

Options are the fields of the settings; nothing heavy is imported before a command runs.
"""

from __future__ import annotations

import argparse
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hermnet.errors import InputError
from hermnet.properties.settings import (
    DynamicsSettings,
    ElasticSettings,
    EosSettings,
    MsdSettings,
    PhononSettings,
    RdfSettings,
    RelaxSettings,
    VdosSettings,
)
from hermnet.recipes.convert import MismatchError, convert
from hermnet.recipes.schema import Option, options_of


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        name: of the command.
        text: what it does, for the help.
        settings: the dataclass whose fields are its options.
        needs_potential: whether it computes, instead of reading a trajectory; then it can go on
            after a kill.
    """

    name: str
    text: str
    settings: type
    needs_potential: bool = True


COMMANDS = (
    Command("relax", "relax positions and cell", RelaxSettings),
    Command("eos", "fit an equation of state", EosSettings),
    Command("elastic", "elastic constants and moduli", ElasticSettings),
    Command("phonons", "phonon bands and density of states (needs phonopy)", PhononSettings),
    Command("md", "molecular dynamics", DynamicsSettings),
    Command("rdf", "radial distribution in a trajectory", RdfSettings, needs_potential=False),
    Command("msd", "displacement in a trajectory", MsdSettings, needs_potential=False),
    Command("vdos", "vibrations in a trajectory", VdosSettings, needs_potential=False),
)


def add_property_commands(
    commands: argparse._SubParsersAction[Any],
) -> None:
    """Add the commands to a parser; each leaves its `Command` in the namespace."""
    for command in COMMANDS:
        parser = commands.add_parser(
            command.name,
            help=command.text,
            description=f"{command.text[0].upper()}{command.text[1:]}.",
            allow_abbrev=False,
        )
        what = "structure" if command.needs_potential else "trajectory"
        parser.add_argument("source", metavar=what.upper(), help=f"{what} in any format of ASE")
        if command.needs_potential:
            add_potential_options(parser)
        parser.add_argument(
            "--output", metavar="FOLDER", default=command.name, help=f"to write ({command.name})"
        )
        parser.add_argument("--overwrite", action="store_true", help="replace an older result")
        if command.needs_potential:
            parser.add_argument("--resume", action="store_true", help="go on after a kill")
        group = parser.add_argument_group("settings")
        for option in options_of(command.settings):
            _add_setting(group, option)
        parser.set_defaults(run=run, parser=command.name, property=command)


def add_potential_options(parser: argparse.ArgumentParser) -> None:
    """Add which checkpoints, and how they compute."""
    parser.add_argument(
        "--checkpoint",
        action="append",
        required=True,
        metavar="PATH",
        help="of a potential (needed); several make a committee",
    )
    parser.add_argument("--device", help="cpu or cuda; by default the GPU where there is one")
    parser.add_argument("--dtype", help="float32 or float64; by default as trained")
    parser.add_argument(
        "--compile",
        action=argparse.BooleanOptionalAction,
        help="compile the potential (long simulations only)",
    )
    parser.add_argument(
        "--threads",
        type=int,
        default=1,
        metavar="N",
        help="of the CPU (1, the fastest for small structures)",
    )


def _add_setting(group: Any, option: Option) -> None:
    flag = f"--{option.name.replace('_', '-')}"
    common: dict[str, Any] = {"dest": f"set_{option.name}", "default": argparse.SUPPRESS}
    if option.type is bool:
        action = argparse.BooleanOptionalAction if option.default else "store_true"
        group.add_argument(flag, action=action, help=option.prose, **common)
        return
    prose = option.prose if option.default is None else f"{option.prose} ({_shown(option.default)})"
    if typing.get_origin(option.type) is typing.Literal:
        common["metavar"] = "{" + ",".join(typing.get_args(option.type)) + "}"
    elif _is_triple(option.type):
        common |= {"nargs": 3, "metavar": "N"}
    else:
        common["metavar"] = "X"
    group.add_argument(flag, help=prose.replace("%", "%%"), **common)


def _shown(default: Any) -> str:
    return " ".join(map(str, default)) if isinstance(default, tuple) else str(default)


def _is_triple(kind: Any) -> bool:
    return any(typing.get_origin(k) is tuple for k in (kind, *typing.get_args(kind)))


def run(arguments: argparse.Namespace) -> None:
    """Do what a command line asks for.

    Raises:
        InputError: for whatever a user can mend.
    """
    command: Command = arguments.property
    settings = _settings(command.settings, vars(arguments))
    from hermnet.properties.running import analyse, compute, simulate

    if command.name == "md":
        simulate(arguments, settings)
    elif not command.needs_potential:
        analyse(command.name, arguments, settings)
    else:
        compute(command.name, arguments, settings)


def _settings(kind: Callable[..., Any], given: dict[str, Any]) -> Any:
    """The settings that were given, converted to their types."""
    values = {}
    for option in options_of(kind):
        name = f"set_{option.name}"
        if name in given:
            try:
                values[option.name] = convert(given[name], option.type)
            except MismatchError as mismatch:
                flag = f"--{option.name.replace('_', '-')}"
                raise InputError(f"{flag}{mismatch.where}: {mismatch}") from mismatch
    return kind(**values)
