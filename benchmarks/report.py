"""Make tables and plots of docs/results/performance.md from the files in benchmarks/results.

    python benchmarks/report.py

What stands between ``<!-- begin: x -->`` and ``<!-- end: x -->`` is replaced; the rest of the page
is written by hand.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from goals import GOALS, ON_GPU, PREDICTION, STEP, TWO_THREADS, Found, Goal

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "results" / "performance.md"


def read(folder: Path) -> Found:
    """Results of `speed.py` by group and case."""
    found = {}
    for path in sorted((folder / "speed").glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        found[content["group"], content["case"]] = content
    return found


def table(head: list[str], rows: list[list[str]]) -> str:
    """Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in lines)


def goal_rows(goal: Goal, found: Found) -> list[list[str]]:
    """A row for each task, with the ratio of every case."""
    rows = []
    for task in goal.tasks:
        cells, good = [], []
        for (group, case), content in found.items():
            if group != goal.group or not goal.cases(case):
                continue
            ratio = goal.ratio(content["contenders"], task)
            if ratio is not None:
                cells.append(f"{ratio:.2f} ({case})")
                good.append(goal.met(ratio))
        bound = "at most" if goal.at_most else "at least"
        said = "not measured"
        if good:
            said = "yes" if all(good) else "no" if not any(good) else f"{sum(good)} of {len(good)}"
        what = f"{goal.text}, {'memory' if goal.key == 'memory' else task}"
        rows.append([what, f"{bound} {goal.wanted:g}", ", ".join(cells) or "-", said])
    return rows


def goals_table(found: Found, goals: Iterable[Goal], more: Iterable[list[str]] = ()) -> str:
    """All goals, and more rows."""
    rows = [row for goal in goals for row in goal_rows(goal, found)]
    return table(["goal", "wanted", "measured", "met"], [*rows, *more])


def thread_goal_rows(folder: Path) -> list[list[str]]:
    """What a second thread should gain, and gains, for each of our models and task."""
    path = folder / "threads.json"
    cases = json.loads(path.read_text(encoding="utf-8"))["cases"] if path.is_file() else {}
    rows = []
    for name in ("none compiled", "none eager"):
        for task in (STEP, PREDICTION):
            gains = {case: one[name][task]["gain"] for case, one in cases.items()}
            cells = ", ".join(f"{gain:.2f} ({case})" for case, gain in gains.items())
            met = sum(gain >= TWO_THREADS for gain in gains.values())
            what = f"two threads against one, `{name}` PaiNN, {task}"
            said = f"{met} of {len(gains)}" if gains else "not measured"
            rows.append([what, f"at least {TWO_THREADS:g}", cells or "-", said])
    return rows


def threads_table(folder: Path) -> str:
    """What a second thread brings."""
    path = folder / "threads.json"
    if not path.is_file():
        return "not measured"
    content = json.loads(path.read_text(encoding="utf-8"))
    rows = []
    for case, contenders in content["cases"].items():
        for name, tasks in contenders.items():
            for task, row in tasks.items():
                times = [f"{1e3 * row[key]:.1f}" for key in ("one", "many")]
                rows.append([case, name, task, *times, f"{row['gain']:.2f}"])
    many = content["many"]
    return table(["structure", "", "", "one thread, ms", f"{many} threads, ms", "gain"], rows)


def speed_tables(found: Found) -> str:
    """A table for each group and case."""
    parts = []
    for (group, case), content in found.items():
        size = f"{content['atoms']} atoms, {content['edges']} edges"
        limits = content["ceilings"]
        ran = {k: v for k, v in content["contenders"].items() if "refused" not in v}
        head = ["", "parameters"]
        head += ["step, ms", "limit", "MB", "energy+forces, ms", "limit", "MB"]
        rows = []
        for name, row in ran.items():
            cells = [name, f"{row['parameters']:,}"]
            for task in (STEP, PREDICTION):
                cells += _cells(row[task], limits)
            rows.append(cells)
        refused = [
            f"{name}: {row['refused']}"
            for name, row in content["contenders"].items()
            if "refused" in row
        ]
        rates = f"copies {limits['copy'] / 1e9:.1f} GB/s, multiplies {limits['matmul'] / 1e9:.0f}"
        parts.append(f"**{group}, {case}** ({size}; the machine {rates} Gflop/s)\n")
        parts.append(table(head, rows) + "\n")
        if "note" in content:
            parts.append(content["note"] + "\n")
        if refused:
            parts.append("Not run: " + "; ".join(refused) + ".\n")
    return "\n".join(parts)


def _cells(row: dict[str, Any], limits: dict[str, float]) -> list[str]:
    """Time, its multiple of the products' own time and of the operators' traffic, memory."""
    products = row["counted flops"] / limits["matmul"]
    traffic = row["counted bytes"] / limits["copy"]
    far = f"{row['seconds'] / products:.1f} / {row['seconds'] / traffic:.2f}" if products else "-"
    return [f"{1e3 * row['seconds']:.1f}", far, f"{row['memory'] / 1e6:.0f}"]


def scale_table(folder: Path) -> str:
    """Fitted exponents and the largest points."""
    path = folder / "scale.json"
    if not path.is_file():
        return "not measured"
    axes = json.loads(path.read_text(encoding="utf-8"))["axes"]
    rows = []
    for axis in axes.values():
        for line, content in axis["lines"].items():
            points, slopes = content["points"], content["exponents"]
            if not points:
                continue
            last = points[-1]
            largest = f"{last['value']}: {last['seconds']:.3g} s, {last['bytes'] / 1e9:.2f} GB"
            powers = [f"{slopes[key]:.2f}" for key in ("seconds", "bytes")]
            span = f"{points[0]['value']} to {last['value']}"
            rows.append([axis["counts"], line, span, *powers, largest])
    head = ["growing", "", "range", "time grows as power", "memory as power", "at the largest"]
    return table(head, rows)


def draw_speed(found: Found, path: Path) -> None:
    """How much longer a training step takes than that of a case's first contender, by group."""
    from matplotlib.figure import Figure

    groups = sorted({group for group, _ in found})
    if not groups:
        return
    figure = Figure(figsize=(11, 2.6 * len(groups)), layout="constrained")
    panels = figure.subplots(len(groups), 1, squeeze=False)[:, 0]
    for axes, group in zip(panels, groups, strict=True):
        draw_group(axes, {case: content for (g, case), content in found.items() if g == group})
        axes.set_ylabel(f"{group}: step / first")
    figure.savefig(path, dpi=75)


def draw_group(axes: Axes, by_case: Mapping[str, Any]) -> None:
    """Bars from zero for all that ran, with their milliseconds."""
    ran = {
        case: {n: 1e3 * r[STEP]["seconds"] for n, r in content["contenders"].items() if STEP in r}
        for case, content in by_case.items()
    }
    names = list(dict.fromkeys(name for times in ran.values() for name in times))
    for k, name in enumerate(names):
        cases = [i for i, times in enumerate(ran.values()) if name in times]
        times = [list(ran.values())[i] for i in cases]
        where = [
            i + 0.85 * (list(t).index(name) / len(t) - 0.5)
            for i, t in zip(cases, times, strict=True)
        ]
        bars = axes.bar(
            where,
            [t[name] / next(iter(t.values())) for t in times],
            width=[0.8 / len(t) for t in times],
            align="edge",
            label=name,
            color=f"C{k}",
        )
        labels = [f"{t[name]:.0f} ms" for t in times]
        axes.bar_label(bars, labels, fontsize=7, rotation=90, padding=2)
    axes.set_xticks(range(len(ran)), [case.replace(", ", ",\n") for case in ran], fontsize=8)
    axes.margins(y=0.3)
    axes.legend(fontsize=6, loc="center left", bbox_to_anchor=(1.0, 0.5))


def draw_scale(folder: Path, path: Path) -> None:
    """Time and memory along each axis."""
    from matplotlib.figure import Figure

    source = folder / "scale.json"
    if not source.is_file():
        return
    axes_found = json.loads(source.read_text(encoding="utf-8"))["axes"]
    figure = Figure(figsize=(11, 2.3 * len(axes_found)), layout="constrained")
    grid = figure.subplots(len(axes_found), 2, squeeze=False)
    for row, axis in zip(grid, axes_found.values(), strict=True):
        for panel, key, label in zip(row, ("seconds", "bytes"), ("s", "bytes"), strict=True):
            for line, content in axis["lines"].items():
                points = content["points"]
                x, y = [p["value"] for p in points], [max(p[key], 1e-9) for p in points]
                power = content["exponents"][key]
                panel.loglog(x, y, "o-", markersize=3, label=f"{line} ({power:.2f})")
            ticks = sorted({p["value"] for c in axis["lines"].values() for p in c["points"]})
            panel.set_xticks(ticks, [f"{n:,}" for n in ticks], fontsize=6, rotation=90)
            panel.set_xticks([], minor=True)
            panel.set_xlabel(axis["counts"])
            panel.set_ylabel(label)
            panel.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.savefig(path, dpi=75)


def filled(page: str, parts: dict[str, Callable[[], str]]) -> str:
    """The page with what stands between its marks replaced."""
    for name, make in parts.items():
        pattern = rf"(<!-- begin: {name} -->\n).*?(<!-- end: {name} -->)"
        text = make()
        page = re.sub(pattern, lambda m, text=text: f"{m[1]}{text}\n{m[2]}", page, flags=re.DOTALL)
    return page


def summary(found: Found) -> str:
    """Who ran, where, and for how many rounds."""
    one = next(iter(found.values()), None)
    if one is None:
        return "not measured"
    about = one["machine"]
    versions = {
        name.split()[0]: row["torch"]
        for content in found.values()
        for name, row in content["contenders"].items()
        if "refused" not in row
    }
    rounds = [
        len(row[STEP]["rounds"])
        for content in found.values()
        for row in content["contenders"].values()
        if "refused" not in row
    ]
    torches = ", ".join(sorted(set(versions.values())))
    clock = {"process": "CPU time of the process", "wall": "time that passed"}[one["clock"]]
    return (
        f"{about['cpu']}, {about['cores']} cores, {about['threads']} thread(s), "
        f"Python {about['python']}, torch {torches}; {clock}; {min(rounds)} to {max(rounds)} "
        f"rounds (median {median(rounds):g})."
    )


def page_parts(folder: Path) -> dict[str, Callable[[], str]]:
    """What makes each part of the page that comes from results."""
    found, on_gpu = read(folder), read(folder / "gpu")
    return {
        "summary": lambda: summary(found),
        "goals": lambda: goals_table(found, GOALS, thread_goal_rows(folder)),
        "threads": lambda: threads_table(folder),
        "speed": lambda: speed_tables(found),
        "scale": lambda: scale_table(folder),
        "gpu goals": lambda: goals_table(on_gpu, ON_GPU),
        "gpu": lambda: speed_tables(on_gpu),
        "gpu scale": lambda: scale_table(folder / "gpu"),
    }


def main() -> None:
    """Fill the page and draw."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--results", type=Path, default=RESULTS, help="(benchmarks/results)")
    options.add_argument("--page", type=Path, default=PAGE, help="(docs/results/performance.md)")
    given = options.parse_args()
    found, parts = read(given.results), page_parts(given.results)
    text = given.page.read_text(encoding="utf-8")
    given.page.write_text(filled(text, parts), encoding="utf-8")
    draw_speed(found, given.page.with_name("performance_speed.png"))
    draw_scale(given.results, given.page.with_name("performance_scale.png"))
    print(f"written: {given.page}")


if __name__ == "__main__":
    main()
