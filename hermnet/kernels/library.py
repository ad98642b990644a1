"""C++ code of this package as a shared library, compiled once on each machine.

A few seconds at the first use, then a file in the cache folder. Kernels include nothing of torch:
they get addresses, through `ctypes`, so that any compiler will do. Where there is none, or
``HERMNET_KERNELS=0`` says so, everything runs on the operators of torch.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch

from hermnet.host.caches import cache_folder

_LOG = logging.getLogger("hermnet.kernels")
_FOLDER = Path(__file__).parent
_COMPILERS = ("g++", "clang++", "c++")
_FLAGS = ("-O3", "-march=native", "-std=c++17", "-shared", "-fPIC")
_TIMEOUT = 300.0  # seconds
_of_operator: dict[str, str] = {}  # libraries


@cache
def library(name: str) -> ctypes.CDLL | None:
    """The compiled code of ``<name>.cpp``; None where it cannot be had: one warning says why."""
    if os.environ.get("HERMNET_KERNELS") == "0":
        return None
    try:
        return ctypes.CDLL(str(_built(_FOLDER / f"{name}.cpp")))
    except (OSError, subprocess.SubprocessError) as error:
        _LOG.warning("no kernels for %s, going on with those of torch: %s", name, _reason(error))
        return None


@cache  # loaded once more, from another cache folder, its operators would lose their kernels
def extension(name: str) -> ctypes.CDLL | None:
    """The compiled code of a ``<name>.cpp`` that includes headers of torch; None if that fails."""
    root = Path(torch.__file__).parent
    version = f"-DHERMNET_TORCH={torch.__version__}"  # another torch, another file
    places = f"-I{root / 'include'}", f"-L{root / 'lib'}"
    flags = ("-O1", version, *places, "-ltorch_cpu")
    try:
        return ctypes.CDLL(str(_built(_FOLDER / f"{name}.cpp", flags)))
    except (OSError, subprocess.SubprocessError) as error:
        _LOG.info("no extension %s: %s", name, _reason(error))
        return None


def implement(
    operators: torch.library.Library, name: str, function: Callable[..., Any], by: str
) -> None:
    """Let a function that calls the library `by` be an operator of ``hermnet`` on CPUs."""
    operators.impl(name, function, "CPU")
    _of_operator[name] = by


def library_of(operator: str) -> str | None:
    """The library that an operator of ``hermnet`` calls on CPUs, if any."""
    return _of_operator.get(operator)


def _built(source: Path, flags: tuple[str, ...] = ()) -> Path:
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CXX", ""), *_COMPILERS))), None)
    if compiler is None:
        raise FileNotFoundError("there is no C++ compiler")
    folder = cache_folder() / "kernels"
    path = folder / f"{source.stem}-{_key(source, compiler, flags)}.so"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as work:
            made = Path(work) / path.name
            _compile(compiler, source, made, flags)
            os.replace(made, path)  # whole or not at all, whoever else is at it
    return path


def _compile(compiler: str, source: Path, path: Path, flags: tuple[str, ...]) -> None:
    command = [compiler, *_FLAGS, "-o", str(path), str(source), *flags]
    try:
        _run([*command, "-fopenmp"])
    except subprocess.CalledProcessError:  # some compilers come without OpenMP: one thread then
        _run(command)


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=_TIMEOUT)


def _key(source: Path, compiler: str, flags: tuple[str, ...]) -> str:
    """Code, compiler and processor: what runs on one may stop the other."""
    parts = (
        *(path.read_text(encoding="utf-8") for path in (source, *sorted(_FOLDER.glob("*.h")))),
        compiler,
        *_FLAGS,
        *flags,
        platform.machine(),
        _processor(),
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    told = ("flags", "Features", "model name")
    return "\n".join(dict.fromkeys(line for line in lines if line.startswith(told)))


def _reason(error: Exception) -> str:
    text = getattr(error, "stderr", None) or str(error)
    return str(text).strip().splitlines()[0] if str(text).strip() else type(error).__name__
