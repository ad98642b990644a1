"""A progress bar for whatever turns out to take long."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
_PATIENCE = 1.0  # seconds without a bar


def tracked(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """The items; a terminal shows how far they are once a second has passed.

    Args:
        items: what to go through.
        total: how many there are.
        what: is being done, for the bar.
    """
    from rich.console import Console
    from rich.progress import Progress

    start = time.perf_counter()
    console = Console(stderr=True)
    bar = Progress(console=console, transient=True)
    task = bar.add_task(what, total=total)
    try:
        for done, item in enumerate(items, 1):
            yield item
            bar.update(task, completed=done)
            if console.is_terminal and time.perf_counter() - start > _PATIENCE:
                bar.start()  # does nothing the second time
    finally:
        if bar.live.is_started:
            bar.stop()
