"""How the C library hands freed memory back to the system."""

from __future__ import annotations

import ctypes
import platform

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
_LARGEST = 2**31 - 1  # bytes


def keep_freed_memory() -> bool:
    """Let freed memory stay with this process, for the next step wants as much again.

    By default glibc gives large tensors back at once, and every step pays for fresh, zeroed pages.
    Memory that a process has once used stays counted as its own then.

    Returns:
        Whether the C library can be told so; only glibc can.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    options = ctypes.CDLL(None).mallopt
    return bool(options(_TRIM_THRESHOLD, _LARGEST) and options(_MMAP_THRESHOLD, _LARGEST))
