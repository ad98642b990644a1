"""Facts about a split as lines of text."""

from __future__ import annotations

import numpy as np

from hermnet.data.consistency import Array
from hermnet.data.inspection_facts import SplitFacts

_SHOWN = 4  # compositions


def facts_lines(facts: SplitFacts) -> list[str]:
    """One line for each kind of fact, the first with the name of the split."""
    labels = ", ".join(
        name if n == facts.n_frames else f"{name} ({n} of {facts.n_frames})"
        for name, n in facts.labels.items()
        if n
    )
    lines = [
        f"{facts.name}: {facts.n_frames} frames, {facts.n_atoms} atoms",
        f"  elements      {' '.join(facts.elements)}",
        f"  compositions  {_compositions(facts.compositions)}",
        f"  labels        {labels or 'none'}",
    ]
    if facts.shortest is not None:
        lines.append(f"  closest       {facts.shortest}")
    if len(facts.energies):
        lines.append(f"  energy        {_range(facts.energies)} eV/atom")
    if len(facts.forces):
        size = np.sqrt((facts.forces**2).mean())
        lines.append(f"  forces        {_range(facts.forces)} eV/A, root mean square {size:.3g}")
        lines.append(f"  largest       {facts.largest_force}")
        lines.append(f"  net force     at most {facts.net_force:.2g} eV/A ({facts.net_force_at})")
    if len(facts.stress):
        lines.append(
            f"  stress        xx yy zz {_range(facts.stress[:, :3])} GPa, "
            f"yz xz xy {_range(facts.stress[:, 3:])} GPa"
        )
    return lines


def _compositions(compositions: dict[str, int]) -> str:
    shown = [f"{name} ({n})" for name, n in list(compositions.items())[:_SHOWN]]
    more = len(compositions) - _SHOWN
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _range(values: Array) -> str:
    return f"{values.min():.6g} to {values.max():.6g}"
