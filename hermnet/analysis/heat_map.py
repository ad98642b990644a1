"""A matrix as a picture, and the colours and numbers in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hermnet.analysis.weights import Array

COLOURS = "viridis"
NOTHING = "#e8e8e8"  # where there is no value
CENTERED: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 7}
_MOST_NUMBERS = 12  # rows up to which a matrix has room for numbers


def heat_map(
    axis: Any,
    values: Array,
    names: Sequence[str],
    is_logarithmic: bool = False,
    norm: Any = None,
    colours: str = COLOURS,
    number: str | None = None,
) -> None:
    """Draw a matrix with a colour bar, and its numbers where there is room.

    Args:
        axis: to draw on.
        values: (n, n); NaN is left blank.
        names: of rows and columns.
        is_logarithmic: whether orders of magnitude count.
        norm: of the colours; by default from the values.
        colours: name of a colour map.
        number: how to write a number, such as ``{:z.2f}``; by default in few characters.
    """
    from matplotlib import colormaps  # late: its import takes a second

    norm = norm or norm_of(values, is_logarithmic)
    colour_of = colormaps[colours].with_extremes(bad=NOTHING, under=colormaps[colours](0.0))
    shown = np.ma.masked_invalid(values)
    if is_logarithmic:
        shown = np.ma.masked_less_equal(shown, 0.0)
    image = axis.imshow(shown, norm=norm, cmap=colour_of)
    colour_bar(axis, image, shrink=0.8)
    places = np.arange(len(names))
    if len(names) <= 4 * _MOST_NUMBERS:
        turned = max(map(len, names)) > 3
        axis.set_xticks(places, names, rotation=90 if turned else 0, fontsize=8)
        axis.set_yticks(places, names, fontsize=8)
    if len(names) <= _MOST_NUMBERS:
        for row, column in np.ndindex(*values.shape):
            if np.isfinite(values[row, column]):
                value = float(values[row, column])
                text = short(value) if number is None else number.format(value)
                axis.text(column, row, text, color=ink(colour_of(norm(value))), **CENTERED)


def norm_of(values: Array, is_logarithmic: bool) -> Any:
    """Colours for values; NaN does not count, nor do values below zero on a logarithmic scale."""
    from matplotlib.colors import LogNorm, Normalize  # late, as above

    there = values[np.isfinite(values)]
    if is_logarithmic:
        there = there[there > 0]
    if not len(there):
        return Normalize(0.0, 1.0)
    low, high = float(there.min()), float(there.max())
    if is_logarithmic and high > low:
        return LogNorm(low, high)
    start = min(low, 0.0) if high > 0 else low
    return Normalize(start, high if high > start else start + 1.0)


def colour_bar(axis: Any, image: Any, **options: Any) -> None:
    """Say what the colours mean; on a logarithmic scale with three numbers, which have room."""
    from matplotlib.colors import LogNorm  # late, as above

    bar = axis.figure.colorbar(image, ax=axis, **options)
    if isinstance(image.norm, LogNorm):
        low, high = (float(end or 1.0) for end in image.get_clim())
        ticks = np.geomspace(low, high, 3)
        bar.set_ticks(ticks, labels=[short(float(tick)) for tick in ticks])
        bar.ax.minorticks_off()
    bar.ax.tick_params(labelsize=8)


def ink(colour: Any) -> str:
    """Black on light colours, white on dark ones."""
    from matplotlib.colors import to_rgb  # late, as above

    red, green, blue = to_rgb(colour)
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"


def short(value: float) -> str:
    """A number in few characters."""
    if abs(value) >= 1e6:
        return f"{value / 1e6:.3g}M"
    if abs(value) >= 1e4:
        return f"{value / 1e3:.3g}k"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
