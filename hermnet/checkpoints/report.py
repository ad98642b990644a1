"""What a checkpoint is, for people to read."""

from __future__ import annotations

from collections.abc import Iterable

from omegaconf import OmegaConf

from hermnet.checkpoints.checkpoint import Checkpoint, load_model, read_checkpoint
from hermnet.elements import symbol
from hermnet.network import Network
from hermnet.training.position import Position

_WORDS = 3  # of a weight's name that say to which part it belongs


def report(path: str) -> list[str]:
    """Lines that say what a checkpoint is and where it comes from.

    Raises:
        InputError: for a file that is no usable checkpoint.
    """
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
    lines += ["", *_relations(checkpoint), "", *_parameters(load_model(path))]
    lines += _section("latest errors and losses", checkpoint.metrics, "{:.6g}")
    lines += _section("fingerprints of the data", checkpoint.fingerprints, "{}")
    lines += _section("written with", checkpoint.versions, "{}")
    recipe = OmegaConf.to_yaml(OmegaConf.create(checkpoint.recipe)).rstrip()
    return [*lines, "", "recipe:", *(f"  {line}" for line in recipe.splitlines())]


def _relations(checkpoint: Checkpoint) -> list[str]:
    if not checkpoint.relations:
        return ["relations: not said in this format"]
    counts = {
        label: "unknown" if n_edges is None else f"{n_edges}"
        for label, n_edges in checkpoint.relations.items()
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
