"""The report of an ablation: Markdown with pictures, one HTML page, and tables as CSV."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hermnet.ablation import findings
from hermnet.ablation.bootstrap import N_SAMPLES, Change, holm
from hermnet.ablation.document import Block, Bullets, Document, Heading, Picture, Table, Text
from hermnet.ablation.figures import error_against_cost, errors_by_element, learning_curves
from hermnet.ablation.folder import AblationFolder
from hermnet.ablation.grid import value_label
from hermnet.ablation.study import Study

_MAX_RELATIONS = 40  # rows of a table


def write_report(folder: AblationFolder) -> list[Path]:
    """Write the report on what is finished; runs that are not are named in it.

    Returns:
        The Markdown, the page and the tables.

    Raises:
        InputError: if there is no ablation, or no run of it is finished.
    """
    study = Study(folder)
    document = Document(_title(study), list(_blocks(study)))
    markdown, page = folder.path / "report.md", folder.path / "report.html"
    document.write_markdown(markdown)
    document.write_html(page)
    tables = {"runs.csv": study.table, "variants.csv": _variants(study)}
    tables |= {f"{kind}.csv": _groups(study, kind) for kind in ("elements", "relations")}
    paths = [markdown, page]
    for name, table in tables.items():
        if len(table):
            table.to_csv(folder.path / name, index=False, float_format="%.6g")
            paths.append(folder.path / name)
    return paths


def _title(study: Study) -> str:
    axes = " and ".join(f"`{key}`" for key in study.plan.grid.axes)
    return f"{Path(study.plan.config).stem}: {axes}"


def _blocks(study: Study) -> Iterable[Block]:
    noun = findings.error_noun(study)
    yield Text(findings.headline(study), is_answer=True)
    if study.baseline is not None:
        yield from _effects(study, noun)
    cautions = findings.cautions(study)
    if cautions:
        yield Bullets(cautions)
    yield Heading("Variants")
    yield _variant_table(study)
    yield Text(_legend(study))
    if len(study.splits) > 1:
        yield _splits_table(study)
    yield from _pictures(study)
    yield from _relations(study)
    yield Heading("What was run")
    yield Bullets(list(_facts(study)))


def _effects(study: Study, noun: str) -> Iterable[Block]:
    effects = findings.effects(study)
    if len(study.variants) > 2:
        for key in dict.fromkeys(effect.key for effect in effects):
            here = [effect for effect in effects if effect.key == key]
            yield Text(f"What `{key}` does:")
            yield Bullets([findings.effect_sentence(effect, noun) for effect in here])
            if max(len(effect.each) for effect in here) > 1:
                yield _matched(study, here)


def _matched(study: Study, effects: Sequence[findings.Effect]) -> Table:
    """The change by each value of an axis, with everything else alike."""
    name, reference = _short(study.target), effects[0].reference
    rows = list(dict.fromkeys(common for effect in effects for common in effect.each))
    heads = [f"{name} change against\n{reference}, 95 % interval", *(e.value for e in effects)]
    cells = [[_interval(e.each[row]) if row in e.each else "-" for e in effects] for row in rows]
    return Table(heads, [[row, *found] for row, found in zip(rows, cells, strict=True)])


def _variant_table(study: Study) -> Table:
    heads = ["variant", "seeds"]
    heads += [f"{_short(t)} MAE\n{study.unit(t)}".rstrip() for t in study.targets]
    heads += [f"{_short(study.target)} change\n95 % interval", "p"]
    heads += ["parameters", "ms/step", "memory\nMiB", "training\ns"]
    tests = _tests(study)
    rows = []
    for variant in study.variants:
        errors = [_spread(*study.mean_std(variant, study.column(t))) for t in study.targets]
        costs = [study.mean_std(variant, c)[0] for c in ("parameters", "ms_per_step")]
        costs += [study.mean_std(variant, c)[0] for c in ("peak_memory_mib", "training_seconds")]
        shown = [f"{costs[0]:,.0f}", _number(costs[1]), f"{costs[2]:.0f}", f"{costs[3]:.0f}"]
        rows.append(
            [variant, str(len(study.runs(variant))), *errors, *_change(tests, variant), *shown]
        )
    return Table(heads, rows, study.baseline)


def _tests(study: Study) -> dict[str, tuple[Any, float]]:
    """The change of each variant against the baseline, and its p value after Holm."""
    if study.baseline is None:
        return {}
    others = [variant for variant in study.variants if variant != study.baseline]
    changes = {variant: study.bootstrap.change(variant, study.baseline) for variant in others}
    adjusted = holm({variant: change.p for variant, change in changes.items()})
    return {variant: (change, adjusted[variant]) for variant, change in changes.items()}


def _change(tests: dict[str, tuple[Any, float]], variant: str) -> list[str]:
    if variant not in tests:
        return ["-", "-"]
    change, p = tests[variant]
    least = 2 / (1 + N_SAMPLES)
    shown = f"{p:.2g}" if p > least * len(tests) else f"< {least * len(tests):.1g}"
    return [_interval(change), shown]


def _interval(change: Change) -> str:
    """Such as ``-12.0 % (-16.1 to -8.2)``."""
    value, low, high = (f"{100 * x:+.1f}" for x in (change.value, change.low, change.high))
    return f"{value} % ({low} to {high})"


def _legend(study: Study) -> str:
    test = f"{study.n_frames()} frames of `{study.split}`"
    return (
        f"Errors on {test}, mean ± standard deviation over seeds; the baseline is "
        f"`{study.plan.baseline}`. Intervals and p (adjusted for the number of variants after "
        f"Holm) are from {N_SAMPLES} bootstrap samples of test frames and seeds. A step's time is "
        "the processor's on a CPU, the clock's on a GPU; training is by the clock. Memory is the "
        "peak of the whole process on a CPU, of tensors on a GPU."
    )


def _splits_table(study: Study) -> Table:
    targets = [(split, target) for split in study.splits for target in study.targets]
    heads = ["variant", *(f"{s}: {_short(t)} MAE\n{study.unit(t)}".rstrip() for s, t in targets)]
    rows = []
    for variant in study.variants:
        values = [study.mean_std(variant, study.column(t, split)) for split, t in targets]
        rows.append([variant, *(_spread(*value) for value in values)])
    return Table(heads, rows, study.baseline)


def _pictures(study: Study) -> Iterable[Block]:
    yield Heading("Error against cost")
    yield Picture(
        "error_against_cost",
        error_against_cost(study),
        "Lower left is better; the grey line joins the variants that no other one beats in both. "
        "Bars are the standard deviation over seeds.",
    )
    curves = learning_curves(study)
    if curves is not None:
        yield Heading("Learning curves")
        caption = "Validation error: mean over seeds, and the range from the lowest to the highest."
        yield Picture("learning_curves", curves, caption)
    elements = errors_by_element(study)
    if elements is not None:
        yield Heading("Where: by element")
        caption = (
            f"Force MAE on the atoms of each element, {study.unit('forces')}, mean over seeds; "
            "green is lower than the baseline."
        )
        yield Picture("errors_by_element", elements, caption)


def _relations(study: Study) -> Iterable[Block]:
    table = _groups(study, "relations")
    table = table[table.groupby("variant")["label"].transform("size") > 1] if len(table) else table
    if not len(table):
        return
    yield Heading("Where: by relation")
    yield Text(
        "Force MAE on the atoms that a relation sends messages to; an atom may count in several."
    )
    worst = table.sort_values("forces_mae", ascending=False).head(_MAX_RELATIONS)
    if len(worst) < len(table):
        yield Text(f"The {_MAX_RELATIONS} largest of {len(table)}; relations.csv has all.")
    rows = [
        [row["variant"], row["label"], _number(row["forces_mae"]), f"{row['n_atoms']:,}"]
        for _, row in table[table.index.isin(worst.index)].iterrows()
    ]
    yield Table(["variant", "relation", f"force MAE\n{study.unit('forces')}", "atoms"], rows)


def _facts(study: Study) -> Iterable[str]:
    plan, grid = study.plan, study.plan.grid
    changed = " ".join(f"`{override}`" for override in plan.overrides)
    also = f", with {changed}" if changed else ""
    yield f"Recipe `{plan.config}`{also}; that of each run is in `recipes/`, its log in `logs/`."
    for key, values in grid.axes.items():
        yield f"`{key}`: {', '.join(f'`{value_label(key, value)}`' for value in values)}."
    yield f"Seeds of the initial weights: {', '.join(map(str, grid.seeds))}."
    if grid.equal is not None and plan.target is not None:
        amount = {
            "parameters": f"parameters, {plan.target:,.0f} within 2 %",
            "time": f"training time, {plan.target:.0f} s, as whole epochs",
            "steps": f"training steps, {plan.target:,.0f}, as whole epochs",
        }[grid.equal]
        yield f"Equal: {amount}."
    for label, variant in plan.variants.items():
        changes = {k: v for k, v in variant.changes.items() if v != -1}
        if changes:
            shown = ", ".join(f"`{key}={value}`" for key, value in changes.items())
            yield f"For that `{label}` has {shown}."


def _variants(study: Study) -> Any:
    """Mean and standard deviation of every number, by variant."""
    numbers = study.finished.select_dtypes("number").drop(columns=["seed"], errors="ignore")
    grouped = numbers.groupby(study.finished["variant"], sort=False)
    table = grouped.agg(["mean", "std"])
    table.columns = [f"{name}_{kind}" for name, kind in table.columns]
    table.insert(0, "n_seeds", grouped.size())
    return table.reset_index()


def _groups(study: Study, kind: str) -> Any:
    """Errors by element or relation, a row for each variant and label."""
    from pandas import DataFrame

    return DataFrame(
        [
            {"variant": variant, "label": label, "forces_mae": mae, "n_atoms": n_atoms}
            for variant in study.variants
            for label, (mae, n_atoms) in study.by_group(kind, variant).items()
        ]
    )


def _short(target: str) -> str:
    names = {"forces": "F", "energy": "E", "energy_per_atom": "E", "stress": "stress"}
    return names.get(target, target)


def _number(value: float) -> str:
    """Three digits, without an exponent."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _spread(mean: float, std: float) -> str:
    """Such as ``18.5 ± 0.4``."""
    if math.isnan(mean):
        return "-"
    if math.isnan(std) or std == 0:
        return _number(mean)
    digits = max(0, 1 - math.floor(math.log10(std)))
    digits = min(digits, max(0, 3 - math.floor(math.log10(abs(mean)))) if mean else digits)
    return f"{mean:.{digits}f} ± {std:.{digits}f}"
