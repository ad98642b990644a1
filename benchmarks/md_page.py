"""The page of how fast simulations are, made of what `md.py` has measured.

python benchmarks/md_page.py
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any

from pictures import keep_picture
from report import table

from hermnet.properties.report import picture

ROOT = Path(__file__).parents[1]
NUMBERS = ROOT / "benchmarks" / "results" / "md.json"
EXPORT = ROOT / "benchmarks" / "results" / "export.json"
PAGE = ROOT / "docs" / "results" / "md.md"


def write_page(numbers: Path = NUMBERS) -> Path:
    """The page and its plot; returns where the page is."""
    draw(json.loads(numbers.read_text(encoding="utf-8")), PAGE.with_suffix(".png"))
    PAGE.write_text(page(numbers), encoding="utf-8")
    return PAGE


def page(numbers: Path = NUMBERS) -> str:
    """Markdown, of what was exported too where that was measured."""
    texts = [text(json.loads(numbers.read_text(encoding="utf-8")))]
    if EXPORT.is_file():
        texts.append(exported(json.loads(EXPORT.read_text(encoding="utf-8"))))
    return "\n".join(texts)


def text(found: dict[str, Any]) -> str:
    """Markdown of what `md.py` has measured."""
    measured: dict[str, Any] = found["atoms"]
    sizes, names = list(measured), list(next(iter(measured.values())))
    rows = [[name, *(_cell(row, name, names[0]) for row in measured.values())] for name in names]
    shown = table(["", *(f"{int(size):,} atoms" for size in sizes)], rows)
    refused = "".join(f"- {name}: {reason}.\n" for name, reason in _refused(found))
    ratios = "\n".join(_ratios(row, size, names) for size, row in measured.items())
    options = f"--atoms {' '.join(sizes)} --clock {found['clock']} --limit {found['limit_s']:g}"
    options += f" --rounds {found['rounds']} --seconds {found['seconds']:g}"
    memory = found["memory_GB"]
    options += f" --memory {memory:g} --page" if memory else " --page"
    ends = f", who needs more than {memory:g} GB of address space ends" if memory else ""
    return f"""# Steps of molecular dynamics

    HERMNET_PEERS=envs python benchmarks/md.py \\
        {options}

Silicon at 300 K (NVE, 0.5 fs, cutoff 5 Å, 28 neighbors), each package through its own calculator
of ASE and its own neighbor list, with models of like size, random weights and float32: steps per
second of {_clock(found)} ({_machine(found)}). In brackets the ratio to
the first row, the median over rounds in which all took turns. The others run eagerly, as their
calculators do when they are given a model: what NequIP compiles, and MACE's accelerated
operators, were not tried. Who needs more than {found["limit_s"]:g} s for a step is left out of the
larger sizes{ends}.

{shown}

{refused}{ratios}

![steps per second](md.png)

Numbers of all rounds: [md.json](../../benchmarks/results/md.json).
"""


def exported(found: dict[str, Any]) -> str:
    """Markdown of what `export.py` has measured."""
    forms = ("eager", "compiled", "exported")
    model = f"`{found['subnet']}` with relations of `{found['relations']}`"
    cases = {name: row for name, row in found.items() if name.endswith(" atoms")}
    rows = []
    for name, row in cases.items():
        times = (f"{1e3 * row[form]:.2f} ({row[f'eager/{form}']:.2f})" for form in forms)
        rows.append([name, f"{row['edges']:,}", *times])
    return f"""## Without neighbor lists

    python benchmarks/export.py --clock {found["clock"]}

Energies and forces of {model}, five elements and float32, of ethanol
and zincblende: milliseconds of {_clock(found)} ({_machine(found)}),
in brackets how many times faster than eager. To export took {found["seconds to export"]:.0f} s.

{table(["", "edges", *forms], rows)}
"""


def _refused(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Who does not start, or ends at a size, and why."""
    told = list(found["refused"].items())
    for size, row in found["atoms"].items():
        ended = ((name, one.get("refused")) for name, one in row.items())
        told += [(f"{name}, {int(size):,} atoms", reason) for name, reason in ended if reason]
    return told


def _clock(found: dict[str, Any]) -> str:
    return "the time that passes" if found["clock"] == "wall" else "processor time"


def _machine(found: dict[str, Any]) -> str:
    about, versions = found["machine"], found["machine"]["versions"]
    told = ", ".join(f"{name} {versions[name]}" for name in ("torch", "ase"))
    return f"{about['threads']} thread, {about['cpu']}, {told}"


def _ratio(row: dict[str, Any], name: str, other: str) -> float | None:
    """How many steps one makes in the time of a step of the other."""
    seconds, reference = (row.get(key, {}).get("seconds") for key in (name, other))
    if not seconds or not reference:
        return None
    return median(a / b for a, b in zip(reference, seconds, strict=True))


def _cell(row: dict[str, Any], name: str, first: str) -> str:
    ratio = _ratio(row, name, first)
    return "" if ratio is None else f"{1 / median(row[name]['seconds']):.3g} ({ratio:.2f})"


def _ratios(row: dict[str, Any], size: str, names: list[str]) -> str:
    """A line that says how many times faster the first is than each other package."""
    others = [name for name in names if not name.startswith("hermnet")]
    ratios = {name: _ratio(row, names[0], name) for name in others}
    told = [f"{ratio:.1f} of {name}" for name, ratio in ratios.items() if ratio is not None]
    return f"- {int(size):,} atoms: {names[0]} makes steps in the time of one: {', '.join(told)}."


def draw(found: dict[str, Any], path: Path) -> None:
    """Steps per second against atoms."""
    curves: dict[str, list[tuple[int, float]]] = {}
    for size, row in found["atoms"].items():
        for name, one in row.items():
            if one.get("seconds"):
                curves.setdefault(name, []).append((int(size), 1 / median(one["seconds"])))
    with picture(path) as (axis,):
        for name, points in curves.items():
            line = "-" if name.startswith("hermnet") else "--"
            axis.plot(*zip(*points, strict=True), line, marker="o", markersize=3, label=name)
        axis.set(xscale="log", yscale="log", xlabel="atoms", ylabel="steps per second")
        axis.legend(frameon=False, fontsize=8)
    keep_picture(path, path)


if __name__ == "__main__":
    print(f"written: {write_page()}")
