"""What a user sees when something they gave cannot be used.

An `InputError` is the user's to mend: the command line prints its message as one line and exits
with code 2. `Interrupted` is a signal's doing. Every other exception is a bug and keeps its
traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """A file, recipe, checkpoint or structure that cannot be used; the message says what to do."""


class InputErrors(InputError):
    """Several problems found at once, one line each."""

    def __init__(self, messages: Iterable[str] | str) -> None:
        # One text is what is left of them after the way from a worker process.
        self.messages = [messages] if isinstance(messages, str) else list(messages)
        super().__init__("\n".join(self.messages))


class LostProcessError(RuntimeError):
    """Another process of the run is gone; the message says why, as far as anybody knows."""


class Interrupted(Exception):
    """A signal ended training; everything is saved, and the message says how to go on.

    Args:
        signum: number of the signal.
        message: what was saved.
    """

    def __init__(self, signum: int, message: str) -> None:
        super().__init__(message)
        self.signum = signum

    @property
    def exit_code(self) -> int:
        """What a shell shows for a program that the signal ended: 130 SIGINT, 143 SIGTERM."""
        return 128 + self.signum


def at_least(name: str, value: int, lowest: int) -> int:
    """The value of option `name`, or an `InputError` if it is below `lowest`."""
    if value < lowest:
        raise InputError(f"{name} must be at least {lowest}, not {value}")
    return value


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Phrase what is allowed and which of it is closest to `name`.

    Returns:
        For example ``did you mean 'painn'? (known: painn, schnet)``.
    """
    known = sorted(str(a) for a in allowed)
    lowered = {a.lower(): a for a in known}
    close = difflib.get_close_matches(str(name).lower(), list(lowered), n=1, cutoff=0.5)
    hint = f"did you mean '{lowered[close[0]]}'? " if close else ""
    return f"{hint}(known: {', '.join(known) or 'none'})"
