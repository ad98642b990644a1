"""How time and memory grow with atoms, channels, relations and layers.

Each point is a process of its own (`peers/serve.py`). A task is followed along an axis until a call
takes longer than `--limit` seconds or needs more than `--memory` GB.

    python benchmarks/scale.py                       # all axes
    python benchmarks/scale.py --axes atoms          # one of them
"""

from __future__ import annotations

import json
import math
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from ase.data import chemical_symbols
from contenders import Contender, Process, Refused, ours
from measure import machine, parser, write
from systems import lattice, save, silicon

from hermnet.graph import AtomicGraph

TASKS = ("training step", "energy+forces")
_LIMITED = ("seconds", "bytes")
Row = dict[str, float]
_PAINN: dict[str, Any] = {"n_channels": 64}


@dataclass(frozen=True)
class Axis:
    """What grows, and how.

    Attributes:
        name: of what is counted.
        values: in rising order.
        graph: the structure for a value.
        lines: a contender for a value, by name.
    """

    name: str
    values: tuple[int, ...]
    graph: Callable[[int], AtomicGraph]
    lines: dict[str, Callable[[int], Contender]]


def _none(form: str, **more: Any) -> Contender:
    return ours(f"none {form}", "painn", "none", form, **{**_PAINN, **more})


def _vertex(sharing: str) -> Callable[[int], Contender]:
    def contender(_: int) -> Contender:
        return ours(sharing, "painn", "vertex", "eager", sharing=sharing, **_PAINN)

    return contender


def _many_elements(n_elements: int) -> AtomicGraph:
    return lattice(tuple(chemical_symbols[1 : n_elements + 1]), 7)


AXES = {
    "atoms": Axis(
        "atoms",
        tuple(8 * n**3 for n in (2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 27, 30, 40, 54, 64)),
        lambda n_atoms: silicon(round((n_atoms / 8) ** (1 / 3))),
        {form: lambda _, form=form: _none(form) for form in ("compiled", "eager")},
    ),
    "channels": Axis(
        "channels",
        (16, 32, 64, 128, 256),
        lambda _: silicon(4),
        {form: lambda n, form=form: _none(form, n_channels=n) for form in ("compiled", "eager")},
    ),
    "layers": Axis(
        "layers",
        (1, 2, 3, 4, 6),
        lambda _: silicon(4),
        {form: lambda n, form=form: _none(form, n_layers=n) for form in ("compiled", "eager")},
    ),
    "relations": Axis(
        "elements",
        (1, 2, 5, 10, 20, 40, 89),
        _many_elements,
        {
            "none eager": lambda _: _none("eager"),
            "independent eager": _vertex("independent"),
            "basis:8 eager": _vertex("basis:8"),
        },
    ),
}


def point(contender: Contender, file: Path, tasks: Sequence[str], given: Any) -> dict[str, Row]:
    """Seconds and bytes of a call, by task."""
    process = Process(contender.package, sys.executable)
    try:
        request = {"file": str(file), "threads": given.threads, "device": given.device}
        process.ask("load", model=dict(contender.model), **request)
        found = {}
        for task in tasks:
            first = process.ask("run", task=task, times=1)[given.clock][0]
            times = max(1, min(given.rounds, round(2.0 / first)))
            seconds = median(process.ask("run", task=task, times=times + 1)[given.clock][1:])
            found[task] = {"seconds": seconds, "bytes": process.ask("memory", task=task)["bytes"]}
        return found
    finally:
        process.close()


def follow(axis: Axis, line: str, given: Any, folder: Path) -> Iterator[dict[str, Any]]:
    """A point after another by task, each as far as time and memory allow."""
    tasks = list(given.tasks)
    for value in axis.values:
        if value > (given.up_to or value) or value < (given.starting or 0):
            continue
        graph = axis.graph(value)
        file = folder / "graph.npz"
        save(graph, file)
        try:
            rows = point(axis.lines[line](value), file, tasks, given)
        except Refused as reason:
            print(f"{axis.name:9s} {value:6d}  {line:17s} {reason}", flush=True)
            return
        for task, row in rows.items():
            told = f"{row['seconds']:9.3f} s {row['bytes'] / 1e9:7.3f} GB"
            print(f"{axis.name:9s} {value:6d}  {line:17s} {task:13s} {told}", flush=True)
        size = {"value": value, "atoms": graph.n_atoms, "edges": graph.n_edges}
        yield {task: {**size, **row} for task, row in rows.items()}
        growth = axis.values[min(axis.values.index(value) + 1, len(axis.values) - 1)] / value
        limits = given.limit, given.memory * 1e9
        tasks = [
            task
            for task, row in rows.items()
            if all(growth * row[key] <= limit for key, limit in zip(_LIMITED, limits, strict=True))
        ]
        if not tasks:
            return


def exponent(points: Iterable[dict[str, Any]], key: str) -> float:
    """The slope of the upper half of the points, on logarithmic axes."""
    chosen = list(points)
    chosen = chosen[len(chosen) // 2 - 1 :] if len(chosen) > 3 else chosen
    x = [math.log(p["value"]) for p in chosen]
    y = [math.log(max(p[key], 1.0 if key == "bytes" else 1e-9)) for p in chosen]
    if len(x) < 2:
        return math.nan
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    top = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return top / sum((a - mean_x) ** 2 for a in x)


def main() -> None:
    """Run, print, save; axes, lines and tasks not asked for stay as they are in the file."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--axes", nargs="+", choices=list(AXES), default=list(AXES))
    options.add_argument(
        "--lines", default="", help="regular expression: of an axis, such as eager"
    )
    options.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    options.add_argument("--limit", type=float, default=20.0, help="seconds of a call (20)")
    options.add_argument("--memory", type=float, default=12.0, help="GB of a call (12)")
    options.add_argument("--starting", type=int, help="smallest value of an axis")
    options.add_argument("--up-to", type=int, help="largest value of an axis")
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    path = given.output or Path(__file__).parent / "results" / "scale.json"
    found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {"axes": {}}
    about = machine(given.threads, torch.device(given.device))
    with tempfile.TemporaryDirectory() as folder:
        for name in given.axes:
            axis = AXES[name]
            lines: dict[str, Any] = found["axes"].get(name, {}).get("lines", {})
            found["axes"][name] = {"counts": axis.name, "lines": lines, "clock": given.clock}
            found["axes"][name]["machine"] = about
            for line in (line for line in axis.lines if re.search(given.lines, line)):
                points: dict[str, list[dict[str, Any]]] = {task: [] for task in given.tasks}
                for rows in follow(axis, line, given, Path(folder)):
                    for task, row in rows.items():
                        points[task].append(row)
                        slopes = {key: exponent(points[task], key) for key in _LIMITED}
                        lines[f"{task}, {line}"] = {"points": points[task], "exponents": slopes}
                    write(path, "scale", found)


if __name__ == "__main__":
    main()
