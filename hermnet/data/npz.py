"""Arrays of npz files: nothing that is pickled is opened, nothing is half-written."""

from __future__ import annotations

import os
import tempfile
import zlib
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from hermnet.errors import InputError

Array = NDArray[Any]


def read_npz(path: Path, wanted: Container[str] | None = None) -> tuple[dict[str, Array], str]:
    """The arrays of a file.

    Args:
        path: the file.
        wanted: names of the arrays to read; all if not given.

    Returns:
        Those of the arrays that are there, and for messages the names of all.

    Raises:
        InputError: if it cannot be read, or a wanted array holds Python objects.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            names = list(file.files)
            arrays = {name: file[name] for name in names if wanted is None or name in wanted}
    except (OSError, EOFError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    except (BadZipFile, zlib.error) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    return arrays, ", ".join(names)


def write_npz(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write a compressed file that is there as a whole or not at all; its folder is made.

    Raises:
        OSError: if it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as stream:
            np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]  # arrays by name
        os.replace(part, path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
