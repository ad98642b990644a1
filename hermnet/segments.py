"""Sums over the rows of a segment: the one scatter operation that everything else uses.

The native backend is `index_add`. torch_scatter can be chosen instead; only its `scatter` is used,
because its sorted variants (`segment_csr`, `segment_coo`) give wrong second derivatives, that is
wrong weight gradients of a loss on forces.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.util import find_spec

from torch import Tensor

from hermnet.errors import InputError, nearest

SegmentSum = Callable[[Tensor, Tensor, int], Tensor]


def _native(values: Tensor, index: Tensor, n_segments: int) -> Tensor:
    return values.new_zeros(n_segments, *values.shape[1:]).index_add(0, index, values)


def _torch_scatter(values: Tensor, index: Tensor, n_segments: int) -> Tensor:
    scatter = importlib.import_module("torch_scatter").scatter
    result: Tensor = scatter(values, index, dim=0, dim_size=n_segments, reduce="sum")
    return result


_BACKENDS: dict[str, SegmentSum] = {"native": _native, "torch_scatter": _torch_scatter}
_backend: ContextVar[str] = ContextVar("segments_backend", default="native")


def segment_sum(values: Tensor, index: Tensor, n_segments: int) -> Tensor:
    """Add up rows that share an index.

    Args:
        values: (n_rows, ...).
        index: (n_rows,) int64, the segment of each row.
        n_segments: number of rows of the result.

    Returns:
        (n_segments, ...), zero where a segment has no rows.
    """
    return _BACKENDS[_backend.get()](values, index, n_segments)


@contextmanager
def segment_backend(name: str) -> Iterator[None]:
    """Use another backend inside the `with` block: ``native`` or ``torch_scatter``.

    Raises:
        InputError: for an unknown backend, or torch_scatter where it is not installed.
    """
    if name not in _BACKENDS:
        raise InputError(f"unknown segment backend '{name}'; {nearest(name, _BACKENDS)}")
    if name == "torch_scatter" and find_spec("torch_scatter") is None:
        raise InputError(
            "the segment backend 'torch_scatter' needs the package torch_scatter: "
            "pip install --no-build-isolation torch_scatter"
        )
    token = _backend.set(name)
    try:
        yield
    finally:
        _backend.reset(token)
