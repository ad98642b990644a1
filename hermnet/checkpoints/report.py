"""What a checkpoint or an export is, for people to read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from hermnet.checkpoints.checkpoint import load_model, read_checkpoint
from hermnet.elements import symbol
from hermnet.errors import InputError
from hermnet.export.description import read_description
from hermnet.network import Network
from hermnet.training.position import Position

_WORDS = 3  # of a weight's name that say to which part it belongs


def report(path: str) -> list[str]:
    """Lines that say what a checkpoint or an exported potential is and where it comes from.

    Raises:
        InputError: for a file that is no usable checkpoint, or with the end ``.pt2`` no export.
    """
    if Path(path).suffix == ".pt2":
        return _export(Path(path))
    checkpoint = read_checkpoint(path)
    position = Position.of(checkpoint.position)
    lines = [
        f"checkpoint: {checkpoint.path} (format {checkpoint.format})",
        f"saved after: {position}, {checkpoint.step} steps",
        f"elements: {', '.join(map(symbol, checkpoint.elements))}",
        f"mean number of neighbors: {checkpoint.mean_neighbors:.4g}",
    ]
    if checkpoint.units:
        told = (f"{name} ({unit or 'a pure number'})" for name, unit in checkpoint.units.items())
        lines.append(f"targets: {', '.join(told)}")
    else:
        lines.append("targets: energy (eV), forces (eV/A), stress (eV/A^3)")
    lines += ["", *_relations(checkpoint.relations), "", *_parameters(load_model(path))]
    lines += _section("latest errors and losses", checkpoint.metrics, "{:.6g}")
    lines += _section("fingerprints of the data", checkpoint.fingerprints, "{}")
    lines += _section("written with", checkpoint.versions, "{}")
    return [*lines, *_recipe(checkpoint.recipe)]


def _export(path: Path) -> list[str]:
    if not path.is_file():
        raise InputError(f"there is no exported potential {path}")
    about = read_description(path.read_bytes(), str(path))
    lines = [
        f"exported potential: {path} (format {about.format})",
        f"compiled for: {about.device}, {about.capability}, {about.dtype}",
        f"elements: {', '.join(map(symbol, about.elements))}",
        f"cutoff: {about.cutoff:g} A, {about.n_layers} layers",
        f"units: {', '.join(f'{name} ({unit})' for name, unit in about.units.items())}",
        "",
        *_relations(about.relations),
        *_section("written with", about.versions, "{}"),
    ]
    return [*lines, *_recipe(about.recipe)]


def _recipe(recipe: dict[str, Any]) -> list[str]:
    text = OmegaConf.to_yaml(OmegaConf.create(recipe)).rstrip()
    return ["", "recipe:", *(f"  {line}" for line in text.splitlines())]


def _relations(relations: Mapping[str, int | None]) -> list[str]:
    if not relations:
        return ["relations: not said in this format"]
    counts = {
        label: "unknown" if n_edges is None else f"{n_edges}"
        for label, n_edges in relations.items()
    }
    return _table("relations and their training edges", counts.items())


def _parameters(model: Network) -> list[str]:
    counts: dict[str, int] = {}
    for name, value in model.named_parameters():
        part = ".".join(name.split(".")[:-1][:_WORDS])
        counts[part] = counts.get(part, 0) + value.numel()
    rows = {part: f"{number}" for part, number in counts.items()}
    return _table("parameters", (rows | {"all": f"{sum(counts.values())}"}).items())


def _section(title: str, values: dict[str, float] | dict[str, str], form: str) -> list[str]:
    if not values:
        return []
    return ["", *_table(title, ((name, form.format(value)) for name, value in values.items()))]


def _table(title: str, rows: Iterable[tuple[str, str]]) -> list[str]:
    there = list(rows)
    width = max(len(name) for name, _ in there)
    return [f"{title}:", *(f"  {name:{width}}  {value}" for name, value in there)]
