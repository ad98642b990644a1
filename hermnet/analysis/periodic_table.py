"""A periodic table with a value for each element."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from hermnet.analysis.heat_map import CENTERED, COLOURS, NOTHING, colour_bar, ink, norm_of, short
from hermnet.elements import block, group, period, symbol

_F_ROWS = 2.5  # how far below their period the f block stands


def periodic_table(axis: Any, of_element: Mapping[int, float], is_logarithmic: bool) -> None:
    """Draw one value for each of some elements, as far down as there are such.

    Args:
        axis: to draw on.
        of_element: by atomic number; NaN where there is no value.
        is_logarithmic: whether orders of magnitude count.
    """
    from matplotlib import cm, colormaps  # late: its import takes a second

    values = np.array(list(of_element.values()))
    colours = cm.ScalarMappable(norm_of(values, is_logarithmic), colormaps[COLOURS])
    lowest, has_f = max(period(z) for z in of_element), _has_f(of_element)
    for z in range(1, 119):
        if period(z) > lowest or (block(z) == "f" and not has_f):
            continue
        x, y = _place(z)
        if z not in of_element:
            axis.add_patch(_cell(x, y, "white"))
            continue
        value = of_element[z]
        is_drawn = np.isfinite(value) and not (is_logarithmic and value <= 0)
        colour: Any = colours.to_rgba(np.array([value]))[0] if is_drawn else NOTHING
        axis.add_patch(_cell(x, y, colour))
        text = {**CENTERED, "color": ink(colour)}
        axis.text(x, y - 0.18, symbol(z), weight="bold", **text)
        number = short(value) if np.isfinite(value) else "-"
        axis.text(x, y + 0.22, number, **{**text, "fontsize": 5})
    axis.set(xlim=(0.3, 18.7), ylim=(n_rows(of_element) + 0.7, 0.3), aspect="equal")
    axis.set_axis_off()
    colour_bar(axis, colours, shrink=0.5, orientation="horizontal", pad=0.02, aspect=30)


def n_rows(elements: Iterable[int]) -> float:
    """How many rows high the table of these elements is."""
    known = list(elements)
    return max(period(z) for z in known) + (_F_ROWS if _has_f(known) else 0.0)


def _has_f(elements: Iterable[int]) -> bool:
    return any(block(z) == "f" for z in elements)


def _place(z: int) -> tuple[float, float]:
    """Column and row in the table as it is mostly drawn; the f block stands below."""
    if block(z) == "f":
        start = 57 if period(z) == 6 else 89
        return 3.0 + z - start, period(z) + _F_ROWS
    return float(group(z)), float(period(z))


def _cell(x: float, y: float, colour: Any) -> Any:
    from matplotlib.patches import Rectangle  # late, as above

    return Rectangle((x - 0.5, y - 0.5), 1.0, 1.0, facecolor=colour, edgecolor="#b0b0b0", lw=0.4)
