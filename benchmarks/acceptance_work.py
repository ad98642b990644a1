"""The folder in which acceptance works, and how it runs commands of hermnet there."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Work:
    """Where things are and how much is computed.

    Attributes:
        folder: of runs and results of commands.
        data: folder of ``mlearn_<element>.npz``, and of ``water``, the systems of DeePMD-kit.
        results: folder of numbers and pictures.
        scale: of the length of simulations.
        collects: whether only what is there is looked at, and nothing computed.
    """

    folder: Path
    data: Path
    results: Path
    scale: float = 1.0
    collects: bool = False

    def hermnet(self, output: str, *words: object, may_stop: bool = False) -> bool:
        """Run a command of hermnet in the work folder, unless its output is there.

        Args:
            output: folder that the command writes.
            words: of the command, without ``--output``.
            may_stop: whether a simulation may end early, which then is its result.

        Returns:
            Whether the output is there now.

        Raises:
            SystemExit: if it fails.
        """
        done = self.folder / output
        if self._is_there(done, words) or (may_stop and (done / "md.json").is_file()):
            return True
        if self.collects:
            return False
        so_far = (done / "state.npz", done.with_name(f"{done.name}.partial"))
        resume = ("--resume",) if any(path.is_file() for path in so_far) else ()
        self.run(*words, "--output", output, *resume, may_fail=may_stop)
        return True

    def _is_there(self, output: Path, words: tuple[object, ...]) -> bool:
        """Whether a command has done what it is asked for, or anything where nothing is computed.

        A simulation that was shorter goes on.
        """
        summary = output / "md.json"
        if words[0] != "md" or not summary.is_file():
            return words[0] != "md" and output.is_dir()
        timestep, steps = (float(str(words[words.index(w) + 1])) for w in ("--timestep", "--steps"))
        return self.collects or self.read(str(summary))["time_fs"] > (steps - 0.5) * timestep

    def run(self, *words: object, may_fail: bool = False) -> None:
        """Run a command of hermnet in the work folder."""
        command = [sys.executable, "-m", "hermnet.cli", *map(str, words)]
        print("hermnet", *words, flush=True)
        if subprocess.run(command, cwd=self.folder).returncode and not may_fail:
            raise SystemExit(f"failed: hermnet {' '.join(map(str, words))}")

    def checkpoint(self, model: str) -> Path | None:
        """The best checkpoint of a run, relative to the work folder; None if there is none."""
        path = Path("runs") / model / "checkpoints" / "best.ckpt"
        return path if (self.folder / path).is_file() else None

    def exported(self, model: str, dtype: str) -> Path | None:
        """The model compiled ahead of time, relative to the work folder; None if there is none."""
        checkpoint, path = self.checkpoint(model), Path("exports") / f"{model}_{dtype}.pt2"
        if (self.folder / path).is_file():
            return path
        if checkpoint is None or self.collects:
            return None
        (self.folder / "exports").mkdir(exist_ok=True)
        self.run("export", checkpoint, "--dtype", dtype, "--output", path)
        return path

    def read(self, path: str) -> dict[str, Any]:
        """A JSON file in the work folder."""
        content: dict[str, Any] = json.loads((self.folder / path).read_text(encoding="utf-8"))
        return content
