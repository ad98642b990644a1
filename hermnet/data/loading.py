"""`Loader`: what is wrong with a frame arrives from a worker process as it was raised there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, final

import torch
from torch.utils.data import DataLoader, Dataset

from hermnet.errors import InputError, InputErrors

T = TypeVar("T")


class Indexed(Protocol):
    """Items by index."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Any: ...


@dataclass(frozen=True)
class _Problems:
    """An `InputError` as a value; as an exception it would come with the worker's traceback."""

    lines: list[str]


@final
class _Caught(Dataset[Any]):
    """Items, or what is wrong with them."""

    def __init__(self, items: Indexed) -> None:
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Any:
        try:
            return self._items[index]
        except InputErrors as error:
            return _Problems(error.messages)
        except InputError as error:
            return _Problems([str(error)])


@final
class _Joined:
    """Collates, unless something is wrong with an item."""

    def __init__(self, collate: Callable[[Any], Any]) -> None:
        self._collate = collate

    def __call__(self, items: Any) -> Any:
        for item in items if isinstance(items, list) else [items]:
            if isinstance(item, _Problems):
                return item
        return self._collate(items)


@final
class Loader(DataLoader[T]):
    """A `DataLoader` that raises what an item raised, without a traceback in the message."""

    @classmethod
    def of(cls, items: Indexed, collate: Callable[[Any], T], **options: Any) -> Loader[T]:
        """A loader of batches of items.

        Args:
            items: by index; one that cannot be used raises `InputError`.
            collate: makes a batch of a list of items, or of one where ``batch_size`` is None.
            options: further arguments of `DataLoader`.
        """
        # A generator of its own: otherwise every loop draws from the global one.
        options.setdefault("generator", torch.Generator().manual_seed(0))
        return cls(_Caught(items), collate_fn=_Joined(collate), **options)

    def __iter__(self) -> Iterator[T]:  # type: ignore[override]  # of batches
        """Batches; raises `InputError` at the one whose items cannot be used."""
        return map(_raised, super().__iter__())


def _raised(batch: Any) -> Any:
    if isinstance(batch, _Problems):
        raise InputErrors(batch.lines)
    return batch
