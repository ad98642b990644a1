"""The program called in this process, and what it answers."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from hermnet.cli import main


@dataclass
class Answer:
    code: int
    out: str
    err: str


def hermnet(*argv: str) -> Answer:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(list(argv))
    return Answer(code, out.getvalue(), err.getvalue())


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def assert_refused(answer: Answer, *messages: str) -> None:
    """Exit code 2 and one line for each problem, in which its message stands."""
    assert answer.code == 2, answer
    lines = answer.err.splitlines()
    assert all(line.startswith("error: ") for line in lines)
    assert len(lines) == len(messages), lines
    for line, message in zip(lines, messages, strict=True):
        assert message in line
    assert "Traceback" not in answer.out
