"""Running the programs of benchmarks/."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "benchmarks"


def run(script: str, output: Path, *options: str) -> list[str]:
    """The lines that a benchmark prints in one round."""
    given = ["--rounds", "1", "--output", str(output), *options]
    done = subprocess.run(
        [sys.executable, str(FOLDER / script), *given],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
