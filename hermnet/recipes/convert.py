"""Values of a YAML file as the types of annotations, without guessing.

The conversions are OmegaConf's: text that spells a number or a truth value becomes one, a number
becomes text where text is wanted; a truth value is never a number, and a number with a decimal
point never an integer.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union

from hermnet.errors import nearest

_UNIONS = (Union, types.UnionType)
_LISTS = (list, Sequence, Iterable, Collection)
_TRUTH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


class MismatchError(ValueError):
    """A value that an annotation does not admit.

    Args:
        message: what was expected and what was given.
        where: the way into the value, such as ``[1]`` or ``.energy``.
    """

    def __init__(self, message: str, where: str = "") -> None:
        self.where = where
        super().__init__(message)


def convert(value: Any, kind: Any) -> Any:
    """`value` as the annotation `kind` wants it.

    Args:
        value: plain data: None, bool, int, float, str, list or dict.
        kind: int, float, bool, str, Path, None, Any, unions, Literal, and lists, tuples and
            mappings of those.

    Raises:
        MismatchError: the value neither has the type nor spells one of it.
    """
    origin = typing.get_origin(kind) or kind
    if kind is Any:
        return value
    if origin in _SCALARS:
        return _scalar(value, origin)
    if origin in _UNIONS:
        return _member(value, kind)
    if origin is Literal:
        return _choice(value, kind)
    if origin is tuple:
        return tuple(_entries(value, kind, _tuple_kinds(value, kind)))
    if origin in _LISTS:
        (item,) = typing.get_args(kind) or (Any,)
        return _entries(value, kind, [item] * len(value) if isinstance(value, list) else [])
    if _is_mapping(origin):
        return _mapping(value, kind)
    raise MismatchError(f"expected {describe(kind)}, which a recipe cannot give")


def describe(kind: Any) -> str:
    """An annotation in words, such as ``int or null`` or ``list of float``."""
    origin, arguments = typing.get_origin(kind) or kind, typing.get_args(kind)
    if kind is Any:
        return "anything"
    if origin in (None, types.NoneType):
        return "null"
    if origin in _UNIONS:
        return " or ".join(dict.fromkeys(describe(member) for member in arguments))
    if origin is Literal:
        return " or ".join(repr(choice) for choice in arguments)
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        return f"[{', '.join(describe(item) for item in arguments)}]"
    if origin is tuple or origin in _LISTS:
        plain = not arguments or arguments[0] is Any
        return "list" if plain else f"list of {describe(arguments[0])}"
    if _is_mapping(origin):
        if not arguments or arguments[1] is Any:
            return "mapping"
        return f"mapping of {describe(arguments[0])} to {describe(arguments[1])}"
    return str(getattr(kind, "__name__", kind))


def _is_mapping(origin: Any) -> bool:
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _refusal(value: Any, kind: Any) -> MismatchError:
    got = "null" if value is None else repr(value)
    # YAML reads a bare no, off or yes as a truth value.
    hint = "; put text in quotes" if isinstance(value, bool) and kind is str else ""
    return MismatchError(f"expected {describe(kind)}, got {got}{hint}")


def _to_int(value: Any) -> int:
    if isinstance(value, (bool, float)):
        raise TypeError
    return int(value)


def _to_float(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError
    return float(value)


def _to_bool(value: Any) -> bool:
    if isinstance(value, int) and value in (0, 1):  # False and True too
        return bool(value)
    return _TRUTH[value.lower()]


def _to_text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise TypeError
    return str(value)


def _to_none(value: Any) -> None:
    if value is not None:
        raise TypeError


_SCALARS: dict[Any, Callable[[Any], Any]] = {
    int: _to_int,
    float: _to_float,
    bool: _to_bool,
    str: _to_text,
    Path: lambda value: Path(_to_text(value)),
    None: _to_none,
    types.NoneType: _to_none,
}


def _scalar(value: Any, kind: Any) -> Any:
    try:
        return _SCALARS[kind](value)
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
        raise _refusal(value, kind) from None


def _choice(value: Any, kind: Any) -> Any:
    allowed = typing.get_args(kind)
    for choice in allowed:
        if type(choice) is type(value) and choice == value:
            return choice
    for choice in allowed:  # 32 for '32' or the reverse
        if not isinstance(value, bool) and str(choice) == str(value):
            return choice
    if isinstance(value, str):
        raise MismatchError(f"unknown '{value}'; {nearest(value, allowed)}")
    raise _refusal(value, kind)


def _member(value: Any, kind: Any) -> Any:
    """As one of a union: a type that the value has goes before those it can be converted to."""
    members = typing.get_args(kind)
    own = [m for m in members if (typing.get_origin(m) or m) in (type(value), Literal)]
    mismatches = []
    for member in [*own, *members]:
        try:
            return convert(value, member)
        except MismatchError as mismatch:
            mismatches.append(mismatch)
    specific = [m for m in mismatches if m.where]  # the container fits, an entry does not
    if len(own) == 1 and len(members) == 2 and types.NoneType in members:
        specific = mismatches[:1]  # an optional choice or container: its own message says more
    raise specific[0] if specific else _refusal(value, kind)


def _tuple_kinds(value: Any, kind: Any) -> list[Any]:
    kinds = list(typing.get_args(kind)) or [Any, Ellipsis]
    if kinds[-1] is Ellipsis and isinstance(value, (list, tuple)):
        return kinds[:1] * len(value)
    return kinds


def _entries(value: Any, kind: Any, kinds: list[Any]) -> list[Any]:
    if not isinstance(value, (list, tuple)) or len(value) != len(kinds):
        raise _refusal(value, kind)
    pairs = enumerate(zip(value, kinds, strict=True))
    return [_entry(entry, item, f"[{index}]") for index, (entry, item) in pairs]


def _mapping(value: Any, kind: Any) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        raise _refusal(value, kind)
    name, item = typing.get_args(kind) or (Any, Any)
    return {
        _entry(key, name, f".{key}"): _entry(entry, item, f".{key}") for key, entry in value.items()
    }


def _entry(value: Any, kind: Any, where: str) -> Any:
    try:
        return convert(value, kind)
    except MismatchError as mismatch:
        raise MismatchError(str(mismatch), where + mismatch.where) from None
