"""Where files are kept that took long to make and can be made again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Where the files are: ``$HERMNET_CACHE``, else where the system keeps caches of a user."""
    if given := os.environ.get("HERMNET_CACHE"):
        return Path(given).expanduser()
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given).expanduser() / "hermnet"
    return Path("~/.cache/hermnet").expanduser()
