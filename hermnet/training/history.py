"""The latest checkpoints of a run, of which only a few are kept."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import final

from hermnet.host.atomic import copy_atomically


@final
class History:
    """Copies of ``last`` under the number of the step, ``step-120.ckpt``.

    Args:
        folder: of the checkpoints.
        n_kept: how many of the latest are kept, ``last`` among them; one needs no copy.
    """

    def __init__(self, folder: Path, n_kept: int) -> None:
        self._folder = folder
        self._n_kept = n_kept

    def add(self, last: Path, step: int) -> None:
        """Keep a checkpoint that has just been written, and remove what is too old.

        Steps beyond this one are of a course that was given up, and go as well.

        Raises:
            InputError: if the copy cannot be written.
        """
        if self._n_kept > 1:
            copy_atomically(last, self._folder / f"step-{step}.ckpt")
        there = self._steps()
        kept = [number for number in sorted(there) if number <= step][-self._n_kept :]
        for number, path in there.items():
            if self._n_kept == 1 or number not in kept:
                with suppress(OSError):
                    path.unlink()

    def _steps(self) -> dict[int, Path]:
        found = {
            path: re.fullmatch(r"step-(\d+)\.ckpt", path.name) for path in self._folder.iterdir()
        }
        return {int(match[1]): path for path, match in found.items() if match}
