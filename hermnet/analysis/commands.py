"""The command ``hermnet analyze``: its options, and what it calls."""

from __future__ import annotations

import argparse
from typing import Any

from hermnet.errors import InputError, at_least

_OUTPUT = "analysis"


def add_analyze(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command; nothing heavy is imported before it runs."""
    parser = commands.add_parser(
        "analyze",
        help="what each relation of a trained model costs and does",
        description="What each relation of a trained model costs and does.",
        usage="hermnet analyze CHECKPOINT [options] [section.option=value ...]",
        allow_abbrev=False,
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="of a potential or another model")
    parser.add_argument(
        "--config",
        metavar="NAME_OR_PATH",
        help="recipe whose data to look at; by default the data that the model was trained with",
    )
    parser.add_argument("--data", metavar="FILE", help="or labelled frames in a format of ASE")
    parser.add_argument(
        "--split", help="of the data (first test set, else validation or training frames)"
    )
    parser.add_argument(
        "--frames", type=int, default=100, metavar="N", help="to look at, evenly taken (100)"
    )
    parser.add_argument(
        "--relations", type=int, default=60, metavar="N", help="to look at, by edges (60)"
    )
    parser.add_argument(
        "--exchange",
        type=int,
        default=12,
        metavar="N",
        help="up to N relations, give each the weights of each other (12)",
    )
    parser.add_argument("--output", metavar="FOLDER", default=_OUTPUT, help=f"to write ({_OUTPUT})")
    parser.add_argument("--overwrite", action="store_true", help="replace an older result")
    parser.add_argument("--device", help="cpu or cuda; by default the GPU where there is one")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of the CPU (1)")
    parser.set_defaults(run=run, parser="analyze", needs_recipe=False)


def run(arguments: argparse.Namespace) -> None:
    """Do what a command line asks for.

    Raises:
        InputError: for whatever a user can mend; then nothing is written.
    """
    if arguments.config is None and arguments.overrides:
        raise InputError(
            f"'{arguments.overrides[0]}' changes a recipe; give that recipe with --config"
        )
    if arguments.config is not None and arguments.data is not None:
        raise InputError("give --config or --data, not both: each says which frames to look at")
    from hermnet.analysis.running import analyze_as_told

    at_least("--threads", arguments.threads, 1)
    analyze_as_told(arguments)
