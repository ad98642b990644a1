"""Pictures of relation against relation: how alike weights are, and what exchanging them costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hermnet.analysis.findings import Findings
from hermnet.analysis.heat_map import heat_map
from hermnet.analysis.weights import by_interaction
from hermnet.run.plots import DPI, new_figure

_LEAST = 0.1  # cosine at the end of the colours


def draw_matrices(found: Findings, path: Path) -> bool:
    """Draw the cosines in each interaction and the exchange; whether there was anything to draw.

    Args:
        found: the findings.
        path: PNG to write.
    """
    from matplotlib.colors import Normalize  # late: its import takes a second

    names = [facts.label for facts in found.looked_at]
    layers = by_interaction(found.likeness)
    n_panels = len(layers) + (found.exchange is not None)
    if not n_panels:
        return False
    figure, axes = new_figure(n_panels, 2)
    for depth, (axis, one) in enumerate(zip(axes, layers, strict=False), start=1):
        largest = max(_LEAST, float(np.nanmax(np.abs(one.cosine - np.eye(len(names))))))
        norm = Normalize(-largest, largest)
        heat_map(axis, one.cosine, names, norm=norm, colours="RdBu_r", number="{:z.2f}")
        axis.set_title(f"cosine of weights, interaction {depth}", fontsize=10)
    if found.exchange is not None:
        _exchange(axes[-1], found, names)
    figure.savefig(path, dpi=DPI)
    return True


def _exchange(axis: Any, found: Findings, names: list[str]) -> None:
    assert found.exchange is not None
    rises = found.exchange + np.diag(np.full(len(names), np.nan))
    heat_map(axis, rises, names, is_logarithmic=True)
    axis.set(ylabel="relation", xlabel="whose weights it has")
    unit = found.units[found.main]
    axis.set_title(f"rise of the MAE of the {found.main} on its atoms, {unit}", fontsize=10)
