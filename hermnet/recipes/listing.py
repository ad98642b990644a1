"""What a recipe can name, with summaries and options, as ``hermnet list`` prints it."""

from __future__ import annotations

from pathlib import Path
from textwrap import wrap
from typing import Any

from hermnet.errors import InputError
from hermnet.registry import Registry

_INDENT = " " * 8


def listing(kind: str) -> str:
    """One entry per name: its summary, and below it the options with types and defaults.

    Args:
        kind: subnets, relations, readouts, datamodules, configs or studies.
    """
    if kind == "subnets":
        from hermnet.subnetwork import SUBNETS

        return _registered(SUBNETS, skip=("shape",))
    if kind == "datamodules":
        from hermnet.datamodule import DATAMODULES

        return _registered(DATAMODULES)
    if kind == "readouts":
        from hermnet.readouts.names import FILLED, READOUTS

        return "\n".join(
            line for name, target in READOUTS.items() for line in _detailed(name, target, FILLED)
        )
    if kind == "relations":
        return "\n".join(_relations())
    from hermnet.recipes.source import shipped, studies

    found = studies() if kind == "studies" else shipped()
    return "\n".join(_entry(name, _first_comment(path)) for name, path in found.items())


def _relations() -> list[str]:
    from hermnet.recipes.schema import summary_of
    from hermnet.relations import SCHEMES
    from hermnet.subnetwork import HETEROGENEITY

    lines = [_entry(name, summary_of(scheme)) for name, scheme in SCHEMES.items()]
    lines.append("model.heterogeneity: which layers have weights for each relation")
    return lines + [f"    {name:10} of {', '.join(of)}" for name, of in HETEROGENEITY.items()]


def _registered(registry: Registry[Any], skip: tuple[str, ...] = ()) -> str:
    lines: list[str] = []
    for name in registry.names():
        try:
            target = registry.get(name)
        except InputError as error:  # a broken plug-in does not hide the others
            lines.append(_entry(name, f"({error})"))
            continue
        lines += _detailed(name, target, skip)
    return "\n".join(lines)


def _detailed(name: str, target: Any, skip: tuple[str, ...]) -> list[str]:
    from hermnet.recipes.schema import options_of, summary_of

    lines = [_entry(name, summary_of(target))]
    for option in options_of(target, skip):
        lines.append(f"    {option}")
        lines += wrap(option.prose, 100, initial_indent=_INDENT, subsequent_indent=_INDENT)
    return lines


def _entry(name: str, summary: str) -> str:
    return f"{name:14} {summary}".rstrip()


def _first_comment(path: Path) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()
    return next((line[1:].strip() for line in lines if line.startswith("#")), "")
