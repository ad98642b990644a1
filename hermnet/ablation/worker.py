"""Starts `hermnet` in this process so that it ends, and saves, when the one above it is gone.

python -m hermnet.ablation.worker fit --config ...
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2), which outlives exec


def main() -> None:
    """Become the program that the arguments say."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_DEATH_SIGNAL, signal.SIGTERM)
        if os.getppid() != int(os.environ.get("HERMNET_PARENT", os.getppid())):
            raise SystemExit(143)  # it was gone before
    os.execv(sys.executable, [sys.executable, "-m", "hermnet.cli", *sys.argv[1:]])


if __name__ == "__main__":
    main()
