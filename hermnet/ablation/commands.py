"""The command `hermnet ablate`: its options, and what it calls."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from hermnet.ablation.grid import EQUALS, from_texts, seeds_of
from hermnet.errors import InputError

_ASSIGNING = ("--grid", "--baseline")  # options whose values look like overrides
USAGE = """hermnet ablate --config NAME_OR_PATH [--grid section.option=value,value ...]
                      [options] [section.option=value ...]
       hermnet ablate report FOLDER"""


def without_values(argv: Sequence[str]) -> list[tuple[int, str]]:
    """Arguments with their index, without the values of options that look like overrides."""
    before = ["", *argv]
    return [(k, token) for k, token in enumerate(argv) if before[k] not in _ASSIGNING]


def add_ablation_command(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command to a parser."""
    parser = commands.add_parser(
        "ablate",
        help="run a grid of recipes and say what it shows",
        description="Run a grid of recipes and say what it shows.",
        usage=USAGE,
        epilog="Killed at any time, the same command goes on where it was.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "folder", nargs="*", metavar="report FOLDER", help="write the report of a folder again"
    )
    parser.add_argument("--config", metavar="NAME_OR_PATH", help="recipe, possibly with a grid")
    parser.add_argument(
        "--grid",
        action="append",
        default=[],
        metavar="OPTION=VALUES",
        help="an option and its values, such as model.relations=none,vertex",
    )
    parser.add_argument("--seeds", metavar="N", help="seeds of each variant: how many, or 0,1,5")
    parser.add_argument("--equal", choices=EQUALS, help="what all runs share")
    parser.add_argument("--minutes", type=float, help="of training, with --equal time")
    parser.add_argument("--steps", type=int, help="of training, with --equal steps")
    parser.add_argument(
        "--baseline",
        action="append",
        default=[],
        metavar="OPTION=VALUE",
        help="what the others are compared with; by default the first value of each option",
    )
    _add_where(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="list runs, parameters and an estimate of the time"
    )
    parser.set_defaults(run=run, parser="ablate")


def _add_where(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", metavar="FOLDER", help="by default runs/ablations/<recipe>")
    parser.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="runs at a time; by default one on each GPU, or as many as there are cores",
    )
    parser.add_argument(
        "--cluster", help="slurm: as an array of jobs there (local: the same on this machine)"
    )
    parser.add_argument(
        "--cluster-option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="of submitit, such as timeout_min=240 or slurm_partition=gpu",
    )


def run(arguments: argparse.Namespace) -> None:
    """Do what the options say."""
    from pathlib import Path

    from hermnet.ablation.folder import AblationFolder
    from hermnet.ablation.report import write_report
    from hermnet.ablation.running import Ablation, Where

    if arguments.folder:
        paths = write_report(AblationFolder(Path(_reported(arguments.folder))))
        print(f"report: {' '.join(map(str, paths))}")
        return
    if arguments.config is None:
        raise InputError("--config is missing: give a recipe or a study (hermnet list studies)")
    axes = from_texts(arguments.grid)
    settings = {key: getattr(arguments, key) for key in ("equal", "minutes", "steps")}
    settings["seeds"] = None if arguments.seeds is None else seeds_of(_seeds(arguments.seeds))
    baseline = {key: _only(key, values) for key, values in from_texts(arguments.baseline).items()}
    settings["baseline"] = baseline or None
    ablation = Ablation.of(arguments.config, arguments.overrides, axes, arguments.output, settings)
    where = Where(arguments.jobs, arguments.cluster, _options(arguments.cluster_option))
    if arguments.dry_run:
        print("\n".join(ablation.dry_run(where)))
    else:
        ablation.run(where)


def _reported(words: list[str]) -> str:
    """The folder in ``report FOLDER``."""
    if words[0] != "report":
        raise InputError(f"unexpected '{words[0]}'; see hermnet ablate --help")
    if len(words) != 2:
        raise InputError("hermnet ablate report: say which FOLDER, and nothing else")
    return words[1]


def _seeds(text: str) -> Any:
    """``3`` is their number, ``0,1,5`` are seeds."""
    try:
        found = [int(one) for one in text.split(",")]
    except ValueError:
        return text
    return found if "," in text else found[0]


def _only(key: str, values: list[Any]) -> Any:
    if len(values) != 1:
        raise InputError(f"--baseline {key}: one value, not {len(values)}")
    return values[0]


def _options(texts: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InputError(f"--cluster-option '{text}': write name=value")
        found[name] = int(value) if value.isdigit() else value
    return found
