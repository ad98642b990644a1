"""The part of acceptance's page on the energy of isolated simulations, and its pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pictures import keep_picture
from report import table

from hermnet.properties.report import picture
from hermnet.relations import SCHEMES

_SHADOW = "shadow_drift_eV_per_atom_per_ps"
_WANDERING = ("largest_step", "fluctuation")
_DTYPES = ("float64", "float32")
_VERDICTS = {
    "below": "Below the bound, error included: {}.\n",
    "above": "Beyond the bound: {}.\n",
    "unsure": "Not to be told from the bound in this time, since the energy wanders: {}.\n",
    "slope": "Of these the slope itself is above the bound for {}.\n",
    "missing": "Not simulated: {}.\n",
}
_SHARP = "_sharp_"  # in the names of simulations with the sharp norm

Simulations = dict[str, dict[str, float]]
Curve = tuple[NDArray[np.float64], NDArray[np.float64]]  # times in ps, energies in eV/atom


def drifts(found: dict[str, Any]) -> str:
    """Markdown of drifts beside their bounds, and what they say."""
    simulations: Simulations = found["simulations"]
    bounds: dict[str, float] = found["bounds_eV_per_atom_per_ps"]
    usual = {name: one for name, one in simulations.items() if _SHARP not in name}
    dtypes = [d for d in _DTYPES if any(name.endswith(d) for name in simulations)]
    return f"""## Energy of isolated simulations

`hermnet md --ensemble nve`: ethanol from near its minimum with a timestep of 0.5 fs by exported
potentials, and 512 atoms of silicon with 2 fs and `--compile`; both begin with velocities of 600 K,
half of which stays. Drift is the slope of the total energy after the first quarter, its error that
of a random walk with the steps between the means of eight blocks; fluctuation is the standard
deviation around the slope, which velocity Verlet has by itself. The shadow energy,
`H + h^2 (v V'' v / 12 - F^2 / 24m)`, is what velocity Verlet with the timestep h conserves to
fourth order: it has the same drift, and hardly a fluctuation to hide it.
The network computes in the dtype told; positions, velocities and sums of energies are float64
always. Rounding in float32 hardly grows in a crystal within this time, so that silicon's two
simulations take nearly the same course.

{_table(usual, bounds)}

{_verdict(usual, bounds)}
{" ".join(f"![{d}](acceptance/nve_{d}.png)" for d in dtypes)}

{_sharp(simulations, bounds, found["test_errors"])}"""


def draw(path: Path, dtype: str, curves: dict[str, Curve]) -> None:
    """Energies over time: left with the default, right with the sharp norm, to the same scale."""
    with picture(path, 2) as axes:
        for name, (times, energies) in curves.items():
            axis = axes[name.endswith("_sharp")]
            few = slice(None, None, len(times) // 1000 + 1)
            label = name.removesuffix("_sharp").replace("_", " ")
            axis.plot(times[few], energies[few] * 1e6, linewidth=0.7, label=label)
        limits = [axis.get_ylim() for axis in axes if axis.lines]
        shared = min(low for low, _ in limits), max(high for _, high in limits)
        for axis, title in zip(axes, (dtype, f"{dtype}, epsilon = 1e-8"), strict=True):
            axis.set(xlabel="time, ps", ylabel="energy above its start, ueV/atom", title=title)
            axis.set_ylim(*shared)
            axis.legend(frameon=False, fontsize=7)
    keep_picture(path, path)


def _table(simulations: Simulations, bounds: dict[str, float]) -> str:
    rows = [
        [
            _title(name).rpartition(" ")[0],
            name.rpartition("_")[2],
            f"{one['picoseconds']:g}",
            f"{one['mean_temperature_K']:.0f}",
            _drift(one, ""),
            _drift(one, "shadow_"),
            f"{bounds[name.rpartition('_')[2]]:.0e}",
            f"{one['fluctuation_eV_per_atom']:.1e}",
            f"{one['shadow_fluctuation_eV_per_atom']:.1e}" if _SHADOW in one else "",
            f"{one['shadow_largest_step_eV_per_atom']:.1e}" if _SHADOW in one else "",
        ]
        for name, one in simulations.items()
    ]
    columns = ("", "dtype", "ps", "K", "drift, eV/atom/ps", "of the shadow energy", "bound")
    columns += ("fluctuation, eV/atom", "of the shadow energy", "its largest step, eV/atom")
    return table(list(columns), rows)


def _title(name: str) -> str:
    return name.replace(_SHARP, "_").replace("_", " ")


def _drift(one: dict[str, float], prefix: str) -> str:
    drift = one.get(f"{prefix}drift_eV_per_atom_per_ps")
    return "" if drift is None else f"{drift:+.1e} ± {one[f'{prefix}error_of_drift']:.0e}"


def _verdict(simulations: Simulations, bounds: dict[str, float]) -> str:
    """Which drifts are within their bounds, beyond them, or no longer than their errors."""
    names: dict[str, list[str]] = {}
    for name, one in simulations.items():
        prefix = "shadow_" if _SHADOW in one else ""
        drift = abs(one[f"{prefix}drift_eV_per_atom_per_ps"])
        error = one[f"{prefix}error_of_drift"]
        bound = bounds[name.rpartition("_")[2]]
        kind = "below" if drift + error <= bound else "above" if drift - error > bound else "unsure"
        names.setdefault(kind, []).append(_title(name))
        if kind == "unsure" and drift > bound:
            names.setdefault("slope", []).append(_title(name))
    asked = [f"ethanol_{s}_{d}" for d in _DTYPES for s in SCHEMES]
    missing = [_title(name) for name in asked if name not in simulations]
    if missing and not any(_SHARP in name for name in simulations):
        names["missing"] = missing
    return "\n".join(
        text.format(", ".join(names[k])) for k, text in _VERDICTS.items() if k in names
    )


def _sharp(simulations: Simulations, bounds: dict[str, float], errors: dict[str, Any]) -> str:
    """What becomes of the energy with the norm of PaiNN's authors, in all that were trained so."""
    sharp = {name: one for name, one in simulations.items() if _SHARP in name}
    if not sharp:
        return ""
    told = [line for scheme in SCHEMES if (line := _compared(scheme, simulations, errors))]
    return f"""### With a sharp norm

`painn` takes norms as `sqrt(|v|^2 + epsilon)`, with an `epsilon` of 0.01 unless a recipe says
otherwise (silicon's says 1). With 1e-8, as in the code of PaiNN's authors, the energy wanders where
the vector of a channel passes zero within a step: most of all in `triadic`, whose atoms have most
copies.

{_table(sharp, bounds)}

{_verdict(sharp, bounds)}
In float64, with the default instead of 1e-8:

{"".join(told)}"""


def _compared(scheme: str, simulations: Simulations, errors: dict[str, Any]) -> str:
    """Shadow energies in float64, and test errors where both were trained to the end."""
    names = (f"ethanol_{scheme}_float64", f"ethanol_{scheme}_sharp_float64")
    if not all(name in simulations for name in names):
        return ""
    (now, after), (was, before) = (
        [simulations[name][f"shadow_{key}_eV_per_atom"] for key in _WANDERING] for name in names
    )
    line = (
        f"- `{scheme}`: steps of {now:.1e} instead of {was:.1e} eV/atom at most, "
        f"fluctuation {after:.1e} instead of {before:.1e}"
    )
    trained = [f"ethanol_{scheme}", f"ethanol_{scheme}_sharp"]
    if not all(name in errors for name in trained):
        return f"{line}.\n"
    (e, f), (e0, f0) = (
        [errors[n][f"{k}_mae"] for k in ("energy_per_atom", "forces")] for n in trained
    )
    return (
        f"{line}; test MAE {e:.2f} instead of {e0:.2f} meV/atom and {f:.1f} instead of {f0:.1f} "
        "meV/Å.\n"
    )
