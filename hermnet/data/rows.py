"""Rows of ASE's LMDB databases: compressed JSON from and to frames and graphs.

The layout is that of ase-db-backends 0.11, where an array is
``{"__ndarray__": [shape, dtype, numbers]}``.
Rows are read without building `ase.Atoms`, which takes several times as long.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray
from torch import Tensor

from hermnet.data.frames import Frame
from hermnet.errors import InputError
from hermnet.graph import AtomicGraph

Array = NDArray[Any]

# What is no value of the structure.
_ABOUT = ("id", "unique_id", "ctime", "mtime", "user", "calculator", "calculator_parameters")
_ASIDE = {"numbers", "positions", "cell", "pbc", "constraints", "key_value_pairs", "data", *_ABOUT}
_LEVEL = 1  # of compression: digits hardly shrink further, and higher levels take longer


def decode(blob: bytes | memoryview) -> Any:
    """What a database holds under a key, with arrays in place of their JSON.

    Raises:
        InputError: if it is no compressed JSON.
    """
    import orjson

    try:
        text = zlib.decompress(blob)
        try:
            content = orjson.loads(text)
        except orjson.JSONDecodeError:
            content = json.loads(text)  # NaN, which ASE writes, is no JSON for orjson
        return _arrays(content)
    except (zlib.error, ValueError, TypeError, RecursionError) as error:
        raise InputError(f"damaged, or no row of an ASE database: {error}") from error


def encode(content: Any) -> bytes:
    """The reverse of `decode`; arrays have been replaced by `packed` before."""
    import orjson

    return zlib.compress(orjson.dumps(content), _LEVEL)


def packed(array: Array) -> dict[str, Any]:
    """An array as ASE's JSON has it."""
    return {"__ndarray__": [list(array.shape), array.dtype.name, array.ravel().tolist()]}


def frame_of(row: Mapping[str, Any], name: str) -> Frame:
    """A row as a frame; of a value in several places the calculator's counts, as in ASE.

    Args:
        row: numbers, positions, cell, pbc, labels, ``key_value_pairs`` and ``data``.
        name: for messages.

    Raises:
        InputError: if it has no structure.
    """
    try:
        numbers, positions = np.asarray(row["numbers"]), np.asarray(row["positions"], np.float64)
        cell = np.asarray(row.get("cell", np.zeros((3, 3))), np.float64).reshape(3, 3)
        pbc = np.asarray(row.get("pbc", np.zeros(3)), np.bool_).reshape(3)
        if positions.shape != (len(numbers), 3):
            raise ValueError(f"positions {positions.shape} of {len(numbers)} atoms")
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"{name}: no structure in it: {error!r}") from error
    values: dict[str, Any] = {}
    for part in ("data", "key_value_pairs"):
        if isinstance(facts := row.get(part), dict):
            values |= facts
    values |= {key: value for key, value in row.items() if key not in _ASIDE}
    return Frame(numbers, positions, cell, pbc, values, name)


def row_of(
    graph: AtomicGraph, name: str, time: float, scalars: Sequence[str] = ()
) -> dict[str, Any]:
    """One structure as a row that ASE reads; a label that is NaN throughout is left out.

    Args:
        graph: one structure.
        name: the row's unique id.
        time: of writing, in ASE's years.
        scalars: names of the graph's scalars; they become the row's data.
    """
    row = {
        "numbers": packed(graph.atomic_numbers.numpy()),
        "positions": packed(graph.positions.numpy()),
        "cell": packed(graph.cell[0].numpy()),
        "pbc": packed(graph.pbc[0].numpy()),
        "unique_id": name,
        "ctime": time,
        "mtime": time,
        "user": "",
        "calculator": "unknown",
        "key_value_pairs": {},
        "data": _named(scalars, graph),
    }
    if _given(graph.energy):
        row["energy"] = float(graph.energy)
    if _given(graph.forces):
        row["forces"] = packed(graph.forces.numpy())
    if _given(graph.stress):
        row["stress"] = packed(full_3x3_to_voigt_6_stress(graph.stress[0].numpy()))
    if _given(graph.dipole):
        row["dipole"] = packed(graph.dipole[0].numpy())
    return row


def _named(names: Sequence[str], graph: AtomicGraph) -> dict[str, float]:
    """The scalars that are known."""
    values = [] if graph.scalars is None else graph.scalars[0].tolist()
    return {k: v for k, v in zip(names, values, strict=bool(values)) if not math.isnan(v)}


def _given(label: Tensor | None) -> TypeGuard[Tensor]:
    return label is not None and not np.isnan(label.numpy()).all()


def _arrays(content: Any) -> Any:
    if isinstance(content, dict):
        if "__ndarray__" in content:
            shape, dtype, numbers = content["__ndarray__"]
            return np.array(numbers, dtype).reshape(shape)
        if content.get("__ase_objtype__") == "cell":
            return _arrays(content.get("array"))
        # Scalars are most of what there is, and a call for each would take a while.
        return {
            key: _arrays(value) if isinstance(value, dict | list) else value
            for key, value in content.items()
        }
    if isinstance(content, list) and any(isinstance(part, dict | list) for part in content):
        return [_arrays(part) for part in content]
    return content
