"""What kernels keep while calls are recorded as a CUDA graph.

Indices that several kernels share are made by the first of them. In a graph they have to be made
once for each replay, so they belong to the recording and not to the tensor they were made of.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

Recording = dict[Any, Any]
# For the whole process: backward passes run on threads of their own.
_current: list[Recording] = []


@contextmanager
def recording(kept: Recording) -> Iterator[None]:
    """Inside the `with` block `made_once` keeps things in `kept`, to live as long as the graph."""
    _current.append(kept)
    try:
        yield
    finally:
        _current.pop()


def made_once(of: Tensor, key: Hashable, make: Callable[[], Any]) -> Any:
    """What `make` gives, made by the first kernel of a recording that asks for it.

    Args:
        of: the tensor that it is made of.
        key: what it is.
        make: makes it, with operators that are recorded.
    """
    if not _current:
        return make()
    kept = _current[-1]
    place = (of.data_ptr(), of.shape, of.dtype, key)
    if place not in kept:
        kept[place] = of, make()  # the tensor stays, so that no other gets its address
    return kept[place][1]
