from __future__ import annotations

import pytest

from hermnet.data import progress
from hermnet.data.progress import tracked


@pytest.mark.parametrize(
    ("terminal", "patience", "shown"), [(True, -1.0, True), (True, 60.0, False), (False, -1, False)]
)
def test_a_terminal_shows_what_takes_long(
    terminal: bool,
    patience: float,
    shown: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setattr(progress, "_PATIENCE", patience)
    for name in ("FORCE_COLOR", "TTY_INTERACTIVE", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
    assert list(tracked(iter("abc"), 3, "counting letters")) == ["a", "b", "c"]
    written = capsys.readouterr()
    assert written.out == ""
    assert ("counting letters" in written.err) == shown
    assert shown or written.err == ""
