"""The command ``hermnet``.

Nothing heavy is imported before a command needs it, so that ``--help`` and ``--version`` answer at
once. What a user can mend is one line per problem on stderr and exit code 2; a bug keeps its
traceback.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from hermnet.ablation.commands import add_ablation_command, without_values
from hermnet.analysis.commands import add_analyze
from hermnet.arguments import Parser, Version
from hermnet.engines.commands import add_engine_commands
from hermnet.errors import InputError, Interrupted, LostProcessError, nearest
from hermnet.export.commands import add_export_command
from hermnet.properties.commands import add_property_commands

if TYPE_CHECKING:
    from hermnet.recipes.config import Recipe

_OVERRIDE = re.compile(r"(name|data|model|training|trainer)(\.[^=]*)?=")
_LAST = "last"
_USAGE = "hermnet {command} --config NAME_OR_PATH [options] [section.option=value ...]"
_EPILOG = "A recipe's options are set with section.option=value, such as model.subnet=schnet."


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        argv: arguments after the program's name; by default those of the process.
    """
    warnings.formatwarning = _one_line
    try:
        arguments = _parse(list(sys.argv[1:] if argv is None else argv))
        # Only training is shared between processes that torchrun or SLURM have started.
        if arguments.command == "fit" or _is_first("RANK", "SLURM_PROCID"):
            arguments.run(arguments)
    except InputError as error:
        # What is wrong before the processes have found each other is wrong for each of them.
        for line in str(error).splitlines() if _is_first("LOCAL_RANK", "SLURM_LOCALID") else ():
            print(f"error: {line}", file=sys.stderr)
        return 2
    except LostProcessError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except Interrupted as stop:
        print(stop, file=sys.stderr)
        return stop.exit_code
    except KeyboardInterrupt:
        return 130
    except SystemExit as end:
        # Lightning answers an interrupt with exit code 1 of its own.
        if isinstance(end.__context__, KeyboardInterrupt):
            return 130
        raise
    return 0


def _is_first(*variables: str) -> bool:
    """Whether torchrun, Lightning or SLURM, in these variables, count this process as number 0."""
    return next((os.environ[name] for name in variables if name in os.environ), "0") == "0"


def _one_line(message: Warning | str, *_: object, **__: object) -> str:
    """A warning as a user reads it, without the line of code that gave it."""
    return f"warning: {message}\n"


def _parse(argv: list[str]) -> argparse.Namespace:
    """Options as a namespace; overrides may stand anywhere between them."""
    at = {index for index, token in without_values(argv) if _OVERRIDE.match(token)}
    overrides = [argv[index] for index in sorted(at)]
    rest = [token for index, token in enumerate(argv) if index not in at]
    parser, commands = _parser()
    arguments, unknown = parser.parse_known_args(rest)
    for token in unknown:
        if token.startswith("-"):
            option = token.partition("=")[0]
            actions = commands[arguments.parser]._actions
            known = [o for action in actions for o in action.option_strings]
            raise InputError(f"unknown option '{option}'; {nearest(option, known)}")
    arguments.overrides = overrides + unknown  # the resolver says what is wrong with a strange one
    given = vars(arguments)
    if arguments.command in ("list", "inspect") or {"property", "no_recipe"} & {*given}:
        if arguments.overrides:
            name, found = arguments.command, arguments.overrides[0]
            raise InputError(f"unexpected '{found}'; see hermnet {name} --help")
    elif given.get("needs_recipe", True) and not (given["config"] or given.get("folder")):
        raise InputError(
            "--config is missing: give a recipe's name (hermnet list configs) or a path"
        )
    return arguments


def _parser() -> tuple[Parser, dict[str, argparse.ArgumentParser]]:
    parser = Parser(
        prog="hermnet",
        description="Train and use heterogeneous graph potentials.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=Version, help="print the version and stop")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")

    _add_runs(commands)
    actions = _add_data(commands)
    _add_list(commands)
    inspect = commands.add_parser(
        "inspect", help="what a checkpoint or an exported potential is", allow_abbrev=False
    )
    inspect.add_argument("checkpoint", metavar="PATH")
    inspect.set_defaults(run=_inspect, parser="inspect")
    add_analyze(commands)
    add_property_commands(commands)
    add_engine_commands(commands)
    add_ablation_command(commands)
    add_export_command(commands)
    parsers: dict[str, argparse.ArgumentParser] = {
        **commands.choices,
        **{f"data {k}": v for k, v in actions.choices.items()},
    }
    return parser, parsers


def _add_runs(commands: argparse._SubParsersAction[Parser]) -> None:
    fit = _add(
        commands,
        "fit",
        "train a model and write its run folder",
        _run("fit", "resume", "overwrite"),
    )
    fit.add_argument(
        "--resume",
        nargs="?",
        const=_LAST,
        metavar="PATH",
        help="continue from this checkpoint; without PATH from the run's last one",
    )
    fit.add_argument("--overwrite", action="store_true", help="replace an existing run")
    for name, text, *more in (
        ("validate", "errors on the validation set"),
        ("test", "errors on the test set"),
        ("predict", "write predictions as extended xyz", "output"),
    ):
        command = _add(commands, name, text, _run(name, "checkpoint", *more))
        command.add_argument(
            "--checkpoint", metavar="PATH", help="by default the best one of the recipe's run"
        )
    commands.choices["predict"].add_argument(
        "--output", metavar="PATH", help="file to write, by default in the run folder"
    )
    plot = _add(commands, "plot", "draw the pictures of a run again", _plot)
    plot.add_argument("folder", nargs="?", metavar="RUN_FOLDER", help="instead of --config")


def _add_list(commands: argparse._SubParsersAction[Parser]) -> None:
    listing = commands.add_parser(
        "list",
        help="what a recipe can name",
        description="What a recipe can name.",
        allow_abbrev=False,
    )
    listing.add_argument(
        "kind", choices=("subnets", "relations", "readouts", "datamodules", "configs", "studies")
    )
    listing.set_defaults(run=_list, parser="list")


def _add_data(
    commands: argparse._SubParsersAction[Parser],
) -> argparse._SubParsersAction[Parser]:
    data = commands.add_parser(
        "data", help="check or convert the data of a recipe", allow_abbrev=False
    )
    actions = data.add_subparsers(dest="action", required=True, metavar="action")
    check = _add(actions, "data check", "whether the labels can be trusted", _check)
    check.add_argument("--output", metavar="PNG", help="picture, by default in the run folder")
    convert = _add(actions, "data convert", "write a database for data of any size", _convert)
    convert.add_argument("--output", metavar="FOLDER", required=True, help="folder to write")
    convert.add_argument(
        "--split", action="append", default=[], help="one of the splits; by default all"
    )
    convert.add_argument("--workers", type=int, default=1, help="processes (1)")
    convert.add_argument("--overwrite", action="store_true", help="replace an existing folder")
    return actions


def _add(
    commands: argparse._SubParsersAction[Parser],
    name: str,
    text: str,
    run: Callable[[argparse.Namespace], None],
) -> Parser:
    command = commands.add_parser(
        name.split()[-1],
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        usage=_USAGE.format(command=name),
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    command.add_argument(
        "--config", metavar="NAME_OR_PATH", help="a shipped recipe or a YAML file (needed)"
    )
    command.add_argument(
        "--print-config", action="store_true", help="print the resolved recipe and stop"
    )
    command.set_defaults(run=run, parser=name)
    return command


def _recipe(arguments: argparse.Namespace) -> Recipe | None:
    """The resolved recipe; None when it was only to be printed."""
    from hermnet.recipes.config import resolve

    recipe = resolve(arguments.config, arguments.overrides)
    if arguments.print_config:
        print(recipe.to_yaml(), end="")
        return None
    return recipe


def _run(name: str, *options: str) -> Callable[[argparse.Namespace], None]:
    """What a command does that hands recipe and options to the function of its name in `runs`."""

    def run(arguments: argparse.Namespace) -> None:
        recipe = _recipe(arguments)
        if recipe is not None:
            from hermnet.run import commands as runs

            getattr(runs, name)(recipe, **{key: getattr(arguments, key) for key in options})

    return run


def _plot(arguments: argparse.Namespace) -> None:
    if arguments.folder is not None:
        from hermnet.run.folder import recipe_of

        arguments.config, where = recipe_of(arguments.folder)
        arguments.overrides = [*arguments.overrides, where]
    _run("plot")(arguments)


def _check(arguments: argparse.Namespace) -> None:
    recipe = _recipe(arguments)
    if recipe is not None:
        from hermnet.run import datasets

        datasets.check_data(recipe, output=arguments.output)


def _convert(arguments: argparse.Namespace) -> None:
    recipe = _recipe(arguments)
    if recipe is not None:
        from hermnet.run import datasets

        datasets.convert_data(
            recipe,
            arguments.output,
            splits=arguments.split,
            workers=arguments.workers,
            overwrite=arguments.overwrite,
        )


def _inspect(arguments: argparse.Namespace) -> None:
    from hermnet.checkpoints.report import report

    print("\n".join(report(arguments.checkpoint)))


def _list(arguments: argparse.Namespace) -> None:
    from hermnet.recipes.listing import listing

    print(listing(arguments.kind))


if __name__ == "__main__":
    raise SystemExit(main())
