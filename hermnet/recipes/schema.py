"""What a callable accepts, read off its signature, and whether given values fit.

The signature of an ``__init__`` or the fields of a dataclass are the schema of a recipe's section,
the Google docstring is its prose: defaults, types and explanations stand in one place only.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
import re
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from hermnet.errors import nearest
from hermnet.recipes.convert import MismatchError, convert, describe

_EMPTY = inspect.Parameter.empty
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@dataclasses.dataclass(frozen=True)
class Option:
    """One thing that a recipe may set.

    Attributes:
        name: the key in the recipe.
        type: its annotation, `typing.Any` without one.
        default: what holds when it is not given; `inspect.Parameter.empty` when it must be given.
        prose: its line of the docstring, possibly empty.
    """

    name: str
    type: Any
    default: Any
    prose: str

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.default is _EMPTY

    def __str__(self) -> str:
        """Such as ``n_train: int = 950``."""
        default = "" if self.required else f" = {self.default!r}"
        return f"{self.name}: {describe(self.type)}{default}"


def options_of(target: Callable[..., Any], skip: Iterable[str] = ()) -> list[Option]:
    """The options of a dataclass, of a class' ``__init__`` or of a function.

    An ``__init__`` that takes ``**kwargs`` passes them on, so the options of the next class in the
    method resolution order follow its own.

    Args:
        target: whose signature counts.
        skip: names of parameters that are filled by the program and are no options.
    """
    found: dict[str, Option] = {}
    for name, kind, default, prose in _parameters(target):
        if name not in found and name not in set(skip):
            found[name] = Option(name, kind, default, prose)
    return list(found.values())


def check_options(
    target: Callable[..., Any], given: Mapping[Any, Any], path: str, skip: Iterable[str] = ()
) -> tuple[dict[str, Any], list[str]]:
    """Hold `given` against the options of `target`.

    Args:
        target: whose signature counts.
        given: values by name, as a YAML file holds them.
        path: where they stand in the recipe, such as ``model``; begins every message.
        skip: names of parameters that are filled by the program.

    Returns:
        The accepted values, converted to the annotated types, and one message per unknown name,
        unsuitable value or missing option. Defaults are not filled in; see `with_defaults`.
    """
    options = {option.name: option for option in options_of(target, skip)}
    values: dict[str, Any] = {}
    errors: list[str] = []
    for name, value in given.items():
        if name in options:
            try:
                values[name] = convert(value, options[name].type)
            except MismatchError as mismatch:
                errors.append(f"{path}.{name}{mismatch.where}: {mismatch}")
        elif isinstance(name, str) and _is_open(target):
            values[name] = value
        else:
            errors.append(f"{path}.{name}: unknown option; {nearest(name, options)}")
    for option in options.values():
        if option.required and option.name not in given:
            hint = f": {option.prose}" if option.prose else ""
            errors.append(f"{path}.{option.name}: must be given ({describe(option.type)}){hint}")
    return values, errors


def with_defaults(
    target: Callable[..., Any], values: Mapping[str, Any], skip: Iterable[str] = ()
) -> dict[str, Any]:
    """`values` and the defaults of all other options of `target`, in the signature's order."""
    filled = {
        option.name: values.get(option.name, copy.deepcopy(option.default))
        for option in options_of(target, skip)
        if option.name in values or not option.required
    }
    return {**filled, **values}


def summary_of(target: object) -> str:
    """The first line of its docstring, or an empty text."""
    return (inspect.getdoc(target) or "").split("\n", 1)[0]


def _parameters(target: Callable[..., Any]) -> Iterable[tuple[str, Any, Any, str]]:
    """Name, type, default and prose of each parameter, those of parent classes last."""
    if isinstance(target, type) and dataclasses.is_dataclass(target):
        types_of, prose = _hints(target), _prose(target)
        for field in dataclasses.fields(target):
            if field.init:
                default = _field_default(field)
                yield field.name, types_of.get(field.name, Any), default, prose.get(field.name, "")
        return
    for owner, function in _chain(target):
        types_of, prose = _hints(function), {**_prose(owner), **_prose(function)}
        for name, parameter in _own_parameters(function, bound=owner is not function):
            if parameter.kind not in _VARIADIC:
                kind = types_of.get(name, Any)
                yield name, kind, parameter.default, prose.get(name, "")


def _field_default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return _EMPTY if field.default is dataclasses.MISSING else field.default


def _chain(target: Callable[..., Any]) -> list[tuple[Any, Callable[..., Any]]]:
    """The functions that take the arguments of `target`, each with its class."""
    if not isinstance(target, type):
        return [(target, target)]
    chain: list[tuple[Any, Callable[..., Any]]] = []
    for cls in inspect.getmro(target):
        function = vars(cls).get("__init__")
        if cls is not object and inspect.isfunction(function):
            chain.append((cls, function))
            if not _takes_keywords(function):
                break
    return chain


def _own_parameters(
    function: Callable[..., Any], *, bound: bool
) -> list[tuple[str, inspect.Parameter]]:
    parameters = list(inspect.signature(function).parameters.items())
    return parameters[1:] if bound else parameters


def _takes_keywords(function: Callable[..., Any]) -> bool:
    parameters = inspect.signature(function).parameters.values()
    return any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)


def _is_open(target: Callable[..., Any]) -> bool:
    """Whether any name is accepted, since no class of the chain has the last word."""
    chain = _chain(target)
    return bool(chain) and _takes_keywords(chain[-1][1])


def _hints(owner: Any) -> dict[str, Any]:
    """Evaluated annotations; `Any` for those that only a type checker can evaluate."""
    try:
        return typing.get_type_hints(owner)
    except NameError:
        known = vars(sys.modules[owner.__module__])
        return {name: _hint(text, known) for name, text in owner.__annotations__.items()}


def _hint(annotation: Any, known: dict[str, Any]) -> Any:
    holder = types.SimpleNamespace(__annotations__={"it": annotation})
    try:
        return typing.get_type_hints(holder, globalns=known)["it"]
    except NameError:
        return Any


def _prose(owner: object) -> dict[str, str]:
    """Names and explanations of the ``Args`` and ``Attributes`` sections of a Google docstring."""
    found: dict[str, str] = {}
    name, indent = "", -1  # of the entries of the section, -1 outside of one
    for line in (inspect.getdoc(owner) or "").split("\n"):
        depth = len(line) - len(line.lstrip())
        if re.fullmatch(r"(Args|Attributes):\s*", line):
            indent = 0  # until the first entry tells
        elif line and depth == 0:
            indent = -1
        elif line.strip() and indent >= 0:
            indent = indent or depth
            entry = re.match(r"\s*`*(\w+)`*(?: \([^)]*\))?:\s*(.*)", line)
            if depth == indent and entry:
                name = entry[1]
                found[name] = entry[2]
            elif name:
                found[name] = f"{found[name]} {line.strip()}".strip()
    return found
