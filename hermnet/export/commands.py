"""``hermnet export``: its options, and what it does."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hermnet.errors import InputError, at_least, nearest

_FORMATS = {"pt2": ".pt2", "mliap": ".mliap"}  # with the ends of their files' names


def add_export_command(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command to a parser."""
    parser = commands.add_parser(
        "export",
        help="compile a potential for other programs",
        description="Compile a potential ahead of time, into a file for other programs.",
        allow_abbrev=False,
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="of a potential")
    parser.add_argument(
        "--format",
        default="pt2",
        metavar="{pt2,mliap}",
        help="pt2: for Python and ASE; mliap: for LAMMPS' pair_style mliap unified (pt2)",
    )
    parser.add_argument(
        "--output", metavar="FILE", help="to write; by default the checkpoint's name with .FORMAT"
    )
    parser.add_argument("--dtype", help="float32 or float64; by default as trained")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (cpu)")
    parser.add_argument(
        "--threads",
        type=int,
        default=1,
        metavar="N",
        help="of the CPU (1, the fastest for each core)",
    )
    parser.add_argument(
        "--plain",
        action="store_true",
        help="call operators of torch only: slower, for machines without a C++ compiler",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an older file")
    parser.set_defaults(run=run, parser="export", no_recipe=True)


def run(arguments: argparse.Namespace) -> None:
    """Do what a command line asks for.

    Raises:
        InputError: for whatever a user can mend; then nothing is written.
    """
    name = arguments.format
    if name not in _FORMATS:
        raise InputError(f"--format: unknown '{name}'; {nearest(name, _FORMATS)}")
    at_least("--threads", arguments.threads, 1)
    checkpoint = Path(arguments.checkpoint)
    output = Path(arguments.output or checkpoint.with_suffix(_FORMATS[name]))
    if output.suffix != _FORMATS[name]:
        raise InputError(f"--output: the name of a {name} file ends with {_FORMATS[name]}")
    if not output.parent.is_dir():
        raise InputError(f"--output: there is no folder {output.parent}")
    if output.exists() and not arguments.overwrite:
        raise InputError(f"{output} is there already: give --overwrite or another --output")
    from hermnet.export.writing import write_export

    given = arguments
    write_export(checkpoint, output, name, given.dtype, given.device, given.threads, given.plain)
