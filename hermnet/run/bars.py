"""Bars of errors by group, such as element or relation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hermnet.run.plots import COLOURS, DPI, new_figure

_MOST = 24  # groups that have room in a panel
_WIDTH = 0.8  # of a group's bars together

Bars = Mapping[str, Mapping[str, float]]  # by split and group


def error_bars(panels: Mapping[str, Bars], unit: str, path: Path) -> None:
    """Draw one panel for each kind of group, with a bar for each group and split.

    Of too many groups those with the largest errors are drawn, and the title says so.

    Args:
        panels: by title, the error of each split and group.
        unit: of the errors.
        path: PNG to write.
    """
    figure, axes = new_figure(len(panels))
    for axis, (title, bars) in zip(axes, panels.items(), strict=True):
        groups, n_all = _shown(bars)
        places = np.arange(len(groups))
        width = _WIDTH / len(bars)
        for index, (split, errors) in enumerate(bars.items()):
            axis.bar(
                places + (index - (len(bars) - 1) / 2) * width,
                [errors.get(group, np.nan) for group in groups],
                width,
                color=COLOURS.get(split),
                label=split,
            )
        slanted = len(groups) > 8 or max(map(len, groups)) > 5
        axis.set_xticks(places, groups, rotation=90 if slanted else 0)
        cut = f" (largest {len(groups)} of {n_all})" if len(groups) < n_all else ""
        axis.set(title=f"{title}{cut}", ylabel=f"force MAE, {unit}")
        axis.legend(frameon=False)
        axis.grid(alpha=0.3, axis="y")
    figure.savefig(path, dpi=DPI)


def _shown(bars: Bars) -> tuple[list[str], int]:
    """The groups to draw in their own order, and how many there are."""
    groups = list(dict.fromkeys(group for errors in bars.values() for group in errors))
    largest = {g: max(errors.get(g, 0.0) for errors in bars.values()) for g in groups}
    chosen = sorted(groups, key=lambda group: -largest[group])[:_MOST]
    return [group for group in groups if group in chosen], len(groups)
