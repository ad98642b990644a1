"""The commands that let other programs drive a potential: ``hermnet lammps`` and ``serve-ipi``.

Nothing heavy is imported before a command runs.
"""

from __future__ import annotations

import argparse
from typing import Any

from hermnet.properties.commands import add_potential_options


def add_engine_commands(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the commands to a parser."""
    _add_lammps(commands)
    _add_ipi(commands)


def _add_lammps(commands: argparse._SubParsersAction[Any]) -> None:
    lammps = commands.add_parser(
        "lammps",
        help="run a LAMMPS script with a potential",
        description="Run a LAMMPS script in which 'fix hermnet all external pf/callback 1 1' says "
        "where the potential acts; see docs/lammps.md.",
        allow_abbrev=False,
    )
    lammps.add_argument("script", metavar="SCRIPT", help="input of LAMMPS, in metal units")
    add_potential_options(lammps)
    lammps.add_argument(
        "--elements",
        nargs="+",
        default=[],
        metavar="SYMBOL",
        help="of the atom types in order; by default the script's labelmap",
    )
    lammps.add_argument(
        "--var",
        nargs="+",
        action="append",
        default=[],
        metavar="X",
        help="name and value of an index variable of the script; may be repeated",
    )
    lammps.add_argument("--log", metavar="PATH", help="LAMMPS's log file (log.lammps)")
    lammps.set_defaults(run=_lammps, parser="lammps", no_recipe=True)


def _add_ipi(commands: argparse._SubParsersAction[Any]) -> None:
    ipi = commands.add_parser(
        "serve-ipi",
        help="compute for i-PI through a socket",
        description="Compute for i-PI (or another program that speaks its protocol) until it ends; "
        "see docs/ipi.md.",
        allow_abbrev=False,
    )
    ipi.add_argument(
        "source",
        metavar="STRUCTURE",
        help="the one that i-PI starts from, in any format of ASE: elements and periodicity",
    )
    add_potential_options(ipi)
    ipi.add_argument("--socket", metavar="NAME", help="UNIX socket, i-PI's <address>")
    ipi.add_argument("--host", metavar="HOST", help="of an Internet socket (localhost)")
    ipi.add_argument("--port", type=int, metavar="N", help="of an Internet socket (31415)")
    ipi.add_argument(
        "--wait", type=float, default=60.0, metavar="S", help="for i-PI to listen, in seconds (60)"
    )
    ipi.set_defaults(run=_serve_ipi, parser="serve-ipi", no_recipe=True)


def _lammps(arguments: argparse.Namespace) -> None:
    from hermnet.engines.lammps_run import run_script
    from hermnet.errors import InputError
    from hermnet.properties.running import make_calculator

    switches = [] if arguments.log is None else ["-log", arguments.log]
    for variable in arguments.var:
        if len(variable) < 2:
            raise InputError(f"--var {variable[0]}: give a name and a value")
        switches += ["-var", *variable]
    run_script(arguments.script, make_calculator(arguments), arguments.elements, switches)


def _serve_ipi(arguments: argparse.Namespace) -> None:
    from hermnet.engines.ipi import Address, serve
    from hermnet.errors import InputError
    from hermnet.properties.running import make_calculator
    from hermnet.properties.structures import read_structure

    internet = {key: getattr(arguments, key) for key in ("host", "port")}
    internet = {key: value for key, value in internet.items() if value is not None}
    if arguments.socket is not None and internet:
        raise InputError("give --socket for a UNIX socket, or --host and --port, not both")
    if arguments.socket is None and not internet:
        raise InputError("give --socket NAME, or --host and --port: where i-PI listens")
    address = Address(arguments.socket, **internet)
    atoms = read_structure(arguments.source)
    calculator = make_calculator(arguments)
    calculator.calculate(atoms)  # whatever is wrong is better said now
    along = " ".join(axis for axis, periodic in zip("xyz", atoms.pbc, strict=True) if periodic)
    periodicity = f"periodic along {along}" if along else "not periodic"
    print(f"{len(atoms)} atoms, {periodicity}; computing for {address}", flush=True)
    n_computed = serve(atoms, calculator, address, arguments.wait)
    print(f"i-PI has ended; {n_computed} structures computed")
