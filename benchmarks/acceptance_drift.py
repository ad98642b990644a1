"""The part of acceptance's page on the energy of isolated simulations."""

from __future__ import annotations

from typing import Any

from report import table

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


def drifts(found: dict[str, Any]) -> str:
    """Markdown of drifts beside their bounds, and what they say."""
    rows = [
        [
            name.rpartition("_")[0].replace("_", " "),
            name.rpartition("_")[2],
            f"{one['picoseconds']:g}",
            f"{one['mean_temperature_K']:.0f}",
            _drift(one, ""),
            _drift(one, "shadow_"),
            f"{found['bounds_eV_per_atom_per_ps'][name.rpartition('_')[2]]:.0e}",
            f"{one['fluctuation_eV_per_atom']:.1e}",
            f"{one['shadow_fluctuation_eV_per_atom']:.1e}" if _SHADOW in one else "",
            f"{one['shadow_largest_step_eV_per_atom']:.1e}" if _SHADOW in one else "",
        ]
        for name, one in found["simulations"].items()
    ]
    dtypes = [d for d in _DTYPES if any(name.endswith(d) for name in found["simulations"])]
    columns = ("", "dtype", "ps", "K", "drift, eV/atom/ps", "of the shadow energy", "bound")
    columns += ("fluctuation, eV/atom", "of the shadow energy", "its largest step, eV/atom")
    return f"""## Energy of isolated simulations

`hermnet md --ensemble nve`: ethanol from near its minimum with a timestep of 0.5 fs, and 512 atoms
of silicon with 2 fs. Drift is the slope of the total energy after the first quarter, its error that
of a random walk with the steps between the means of eight blocks; fluctuation is the standard
deviation around the slope, which velocity Verlet has by itself. The shadow energy,
`H + h^2 (v V'' v / 12 - F^2 / 24m)`, is what velocity Verlet with the timestep h conserves to
fourth order: it has the same drift, and hardly a fluctuation to hide it.

{table(columns, rows)}

{_verdict(found)}
{" ".join(f"![{d}](acceptance/nve_{d}.png)" for d in dtypes)}
"""


def _drift(one: dict[str, float], prefix: str) -> str:
    drift = one.get(f"{prefix}drift_eV_per_atom_per_ps")
    return "" if drift is None else f"{drift:+.1e} ± {one[f'{prefix}error_of_drift']:.0e}"


def _verdict(found: dict[str, Any]) -> str:
    """Which drifts are within their bounds, beyond them, or no longer than their errors."""
    names: dict[str, list[str]] = {}
    for name, one in found["simulations"].items():
        prefix = "shadow_" if _SHADOW in one else ""
        drift = abs(one[f"{prefix}drift_eV_per_atom_per_ps"])
        error = one[f"{prefix}error_of_drift"]
        bound = found["bounds_eV_per_atom_per_ps"][name.rpartition("_")[2]]
        kind = "below" if drift + error <= bound else "above" if drift - error > bound else "unsure"
        names.setdefault(kind, []).append(name.replace("_", " "))
        if kind == "unsure" and drift > bound:
            names.setdefault("slope", []).append(name.replace("_", " "))
    asked = [f"ethanol_{s}_{d}" for d in _DTYPES for s in ("none", "vertex", "pair", "triadic")]
    missing = [name.replace("_", " ") for name in asked if name not in found["simulations"]]
    names |= {"missing": missing} if missing else {}
    lines = [text.format(", ".join(names[k])) for k, text in _VERDICTS.items() if k in names]
    return "\n".join([*lines, *_smoothed(found["simulations"], found["test_errors"])])


def _smoothed(simulations: dict[str, Any], errors: dict[str, Any]) -> list[str]:
    """What a larger epsilon changes, for the schemes that were trained with both."""
    told = []
    for scheme in ("vertex", "triadic"):
        names = (f"ethanol_{scheme}_float64", f"ethanol_{scheme}_smooth_float64")
        if all(name in simulations for name in names):
            (was, before), (now, after) = (
                [simulations[name][f"shadow_{key}_eV_per_atom"] for key in _WANDERING]
                for name in names
            )
            told.append(
                f"- `{scheme}`: steps of {now:.1e} instead of {was:.1e} eV/atom at most, "
                f"fluctuation {after:.1e} instead of {before:.1e}{_compared(scheme, errors)}.\n"
            )
    head = """What lets the energy wander is the norm `sqrt(|v|^2 + epsilon)` of `painn`, where the
vector of a channel passes zero within a step: most of all in `triadic`, whose atoms have most
copies. Trained with `epsilon: 0.01` instead of 1e-8 (smooth) shadow energies do so far less:
"""
    return [head, "".join(told)] if told else []


def _compared(scheme: str, errors: dict[str, Any]) -> str:
    """Test errors with both, where both were trained to the end."""
    names = [f"ethanol_{scheme}_smooth", f"ethanol_{scheme}"]
    if not all(name in errors for name in names):
        return ""
    (e, f), (e0, f0) = (
        [errors[n][f"{k}_mae"] for k in ("energy_per_atom", "forces")] for n in names
    )
    return f"; test MAE {e:.2f} instead of {e0:.2f} meV/atom and {f:.1f} instead of {f0:.1f} meV/Å"
