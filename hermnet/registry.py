"""Names instead of import paths: one registry for sub-networks, one for data modules.

Built-in classes and those of other packages come the same way, as entry points of an installed
distribution; nothing is imported before its name is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from hermnet.errors import InputError, nearest

T = TypeVar("T", bound=type)


class Registry(Generic[T]):
    """Classes by name, read lazily from an entry-point group and from `register`.

    Args:
        group: entry-point group, such as ``hermnet.subnets``.
        noun: what the classes are called in messages, such as ``sub-network``.
    """

    def __init__(self, group: str, noun: str) -> None:
        self.group = group
        self.noun = noun
        self._classes: dict[str, T] = {}
        self._points: dict[str, EntryPoint] | None = None

    def _entry_points(self) -> dict[str, EntryPoint]:
        if self._points is None:
            found: dict[str, EntryPoint] = {}
            for point in entry_points(group=self.group):
                if point.name in found and found[point.name].value != point.value:
                    raise InputError(
                        f"two installed packages offer the {self.noun} '{point.name}': "
                        f"{found[point.name].value} and {point.value}; uninstall one"
                    )
                found[point.name] = point
            self._points = found
        return self._points

    def names(self) -> list[str]:
        """All known names, sorted; imports nothing."""
        return sorted({*self._classes, *self._entry_points()})

    def register(self, name: str) -> Callable[[T], T]:
        """Add a class of the running program under `name`; a taken name raises `InputError`."""

        def add(cls: T) -> T:
            if name in self.names():
                raise InputError(f"the {self.noun} name '{name}' is taken")
            self._classes[name] = cls
            return cls

        return add

    def get(self, name: str) -> T:
        """The class called `name`.

        Raises:
            InputError: for an unknown name (with the closest known one), or one whose package does
                not import.
        """
        if name not in self._classes:
            point = self._entry_points().get(name)
            if point is None:
                raise InputError(f"unknown {self.noun} '{name}'; {nearest(name, self.names())}")
            try:
                self._classes[name] = point.load()
            except ImportError as error:
                raise InputError(f"the {self.noun} '{name}' cannot be imported: {error}") from error
        return self._classes[name]
