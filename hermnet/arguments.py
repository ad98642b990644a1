"""Argparse as the command line wants it: one line per complaint, nothing imported early."""

from __future__ import annotations

import argparse
from typing import NoReturn, final

from hermnet.errors import InputError


@final
class Parser(argparse.ArgumentParser):
    """Argparse whose complaints are input errors like all others."""

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong."""
        raise InputError(f"{message}; see {self.prog} --help")


@final
class Version(argparse.Action):
    """Like argparse's own, but looks the version up only when it is asked for."""

    def __init__(self, option_strings: list[str], dest: str, help: str) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Print it and stop."""
        from importlib.metadata import version

        print(f"hermnet {version('hermnet')}")
        parser.exit()
