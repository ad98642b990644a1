"""Element classes: the vocabulary that relations are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hermnet.elements import block, group, number, period, symbol
from hermnet.errors import InputError, nearest

_TABLES = {
    "group": lambda z: f"group {group(z)}",
    "period": lambda z: f"period {period(z)}",
    "block": lambda z: f"{block(z)} block",
}


@dataclass(frozen=True)
class ElementClasses:
    """How the model's elements are grouped.

    Attributes:
        names: the classes in use, in the order of the relation's index.
        of_type: for each of the model's elements, the index of its class.
    """

    names: tuple[str, ...]
    of_type: tuple[int, ...]


def element_classes(
    spec: str | Mapping[str, Sequence[str]], elements: Sequence[int]
) -> ElementClasses:
    """Group elements into classes.

    Args:
        spec: ``element`` (every element its own class), ``group``, ``period``, ``block`` of the
            periodic table, or a mapping such as ``{metal: [Fe, Ni], rest: [C, H]}``.
        elements: atomic numbers in the model's order.

    Raises:
        InputError: for an unknown grouping, or a mapping that misses or repeats an element.
    """
    if isinstance(spec, str):
        if spec == "element":
            labels = [symbol(z) for z in elements]
        elif spec in _TABLES:
            labels = [_TABLES[spec](z) for z in elements]
        else:
            raise InputError(
                f"model.classes: unknown '{spec}'; {nearest(spec, ['element', *_TABLES])}, "
                "or a mapping from class to elements"
            )
    else:
        labels = _mapped(spec, elements)
    names = tuple(dict.fromkeys(labels))
    return ElementClasses(names, tuple(names.index(label) for label in labels))


def _mapped(spec: Mapping[str, Sequence[str]], elements: Sequence[int]) -> list[str]:
    home: dict[int, str] = {}
    for name, members in spec.items():
        for member in members:
            z = number(member)
            if z in home:
                raise InputError(
                    f"model.classes: {member} is in both '{home[z]}' and '{name}'; "
                    "an element belongs to one class"
                )
            home[z] = name
    missing = [symbol(z) for z in elements if z not in home]
    if missing:
        raise InputError(f"model.classes: no class for {', '.join(missing)}")
    return [home[z] for z in elements]
