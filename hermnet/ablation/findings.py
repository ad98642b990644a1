"""What an ablation says, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hermnet.ablation.bootstrap import Change
from hermnet.ablation.grid import value_label
from hermnet.ablation.study import Study

_NOUNS = {"forces": "force error", "energy": "energy error", "energy_per_atom": "energy error"}


@dataclass(frozen=True)
class Effect:
    """What a value of an axis does, averaged over the other axes.

    Attributes:
        key: of the axis.
        value: label of the value.
        reference: label of the baseline's value.
        change: of the error, a geometric mean over pairs of variants that differ in nothing else.
        each: of each pair, by the label of what the two have in common.
    """

    key: str
    value: str
    reference: str
    change: Change
    each: Mapping[str, Change]


def headline(study: Study) -> str:
    """The answer in a sentence: the best variant against the baseline."""
    noun, unit = error_noun(study), study.unit(study.target)
    means = {v: study.mean_std(v, study.column(study.target))[0] for v in study.variants}
    best = min(means, key=lambda variant: means[variant])
    if study.baseline is None:
        return f"`{best}` has the lowest {noun}, {means[best]:.3g} {unit}; the baseline is missing."
    if len(means) == 1:
        return f"The {noun} of `{best}` is {means[best]:.3g} {unit}; there is nothing to compare."
    if best != study.baseline:
        change = study.bootstrap.change(best, study.baseline)
        return f"{sentence(best, study.baseline, change, noun)}."
    second = min((v for v in means if v != best), key=lambda variant: means[variant])
    change = study.bootstrap.change(second, best)
    return f"Nothing lowers the {noun} of the baseline; {sentence(second, best, change, noun)}."


def sentence(variant: str, reference: str, change: Change, noun: str) -> str:
    """Such as: `vertex` lowers the force error by 12 % (95 % interval 8 to 16 %) against `none`."""
    if not change.is_clear:
        return (
            f"`{variant}` and `{reference}` cannot be told apart: {noun} {_signed(change.value)} "
            f"(95 % interval {_signed(change.low)} to {_signed(change.high)})"
        )
    verb = "lowers" if change.value < 0 else "raises"
    low, high = sorted((abs(change.low), abs(change.high)))
    return (
        f"`{variant}` {verb} the {noun} by {_percent(abs(change.value))} "
        f"(95 % interval {_percent(low, '')} to {_percent(high)}) against `{reference}`"
    )


def effects(study: Study) -> list[Effect]:
    """What each value does against the baseline's, over all pairs that are finished."""
    grid, found = study.plan.grid, []
    reference = grid.baseline_variant()
    for key, values in grid.axes.items():
        for value in values:
            if value == reference[key]:
                continue
            pairs = _pairs(study, key, value, reference[key])
            if pairs:
                change = study.bootstrap.mean_change(list(pairs.values()))
                each = {common: study.bootstrap.change(*pair) for common, pair in pairs.items()}
                labels = value_label(key, value), value_label(key, reference[key])
                found.append(Effect(key, *labels, change, each))
    return found


def _pairs(study: Study, key: str, value: Any, reference: Any) -> dict[str, tuple[str, str]]:
    """Finished variants that differ in one axis only, by the label of what they have in common."""
    grid, found = study.plan.grid, {}
    for one in grid.variants():
        pair = grid.label(one), grid.label({**one, key: reference})
        if one[key] == value and all(label in study.variants for label in pair):
            common = (value_label(k, v) for k, v in one.items() if k != key)
            found["-".join(common)] = pair
    return found


def effect_sentence(effect: Effect, noun: str) -> str:
    """An effect in words."""
    n = len(effect.each)
    over = f", averaged over {n} pairs of variants" if n > 1 else ""
    return f"{sentence(effect.value, effect.reference, effect.change, noun)}{over}."


def cautions(study: Study) -> list[str]:
    """What limits the answer."""
    found, grid = [], study.plan.grid
    unfinished = study.unfinished()
    if len(unfinished):
        each = [f"`{row['run']}` ({row['state']})" for _, row in unfinished.iterrows()]
        found.append(f"{len(each)} of {len(study.table)} runs are not in here: {', '.join(each)}.")
    n_seeds = min(len(study.runs(variant)) for variant in study.variants)
    if n_seeds == 1:
        found.append(
            "Some variants have one seed only: the intervals are over test frames, and another "
            "seed may differ by more."
        )
    elif n_seeds < 3:
        found.append(f"With {n_seeds} seeds the spread over seeds is a rough guess.")
    if not study.bootstrap.is_paired:
        found.append("The variants were tested on different frames; they could not be paired.")
    if grid.equal is None:
        found.append("Nothing was made equal: variants differ in parameters and time.")
    seconds = [study.mean_std(v, "training_seconds")[0] for v in study.variants]
    if grid.equal == "time" and max(seconds) > 1.2 * min(seconds):
        found.append(
            f"Training took {min(seconds):.0f} to {max(seconds):.0f} s by the clock, although it "
            "was to be equal; was the machine busy?"
        )
    return found


def error_noun(study: Study) -> str:
    """What the deciding error is called."""
    return _NOUNS.get(study.target, f"error of {study.target}")


def _percent(value: float, unit: str = " %") -> str:
    digits = 0 if value >= 0.0995 else 1
    return f"{100 * value:.{digits}f}{unit}"


def _signed(value: float) -> str:
    sign = "+" if value >= 0 else "-"
    return f"{sign}{_percent(abs(value))}"
