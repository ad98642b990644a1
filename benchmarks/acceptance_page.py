"""The page of what acceptance found, made of its numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from acceptance_drift import drifts
from report import table

_INTRODUCTION = r"""# Physics acceptance

What trained potentials say of molecules, crystals and water. Models are trained from the shipped
recipes, and everything is done with the commands of `hermnet`; `benchmarks/acceptance.py` runs
them one by one and writes the numbers ([acceptance/](acceptance)) and this page:

    python benchmarks/acceptance.py --data data --folder acceptance \
        --parts train kink nve cutoff crystals water --page

The models are small, and were trained for minutes on one thread: these figures show that the
physics is right, not how accurate a potential can become.
"""


_NOISE = 0.05  # THz
_NOTES = {
    "ethanol_vertex": """`ethanol_vertex` and `ethanol_triadic` were trained with `epsilon: 0.01`
written out, and the sharp ones without, before the default changed from 1e-8: the same networks.
All have Bessel functions (`model.radial=bessel`), the default then.
""",
    "ethanol_triadic_sharp": "`ethanol_triadic_sharp` was stopped after 8 epochs.\n",
}


def page(results: Path, fits: dict[str, list[str]]) -> str:
    """Markdown of all parts that have results."""
    parts = {
        path.stem: json.loads(path.read_text(encoding="utf-8")) for path in results.glob("*.json")
    }
    makers = {
        "kink": _kink,
        "nve": drifts,
        "cutoff": _cutoff,
        "crystals": _crystals,
        "water": _water,
    }
    texts = [_INTRODUCTION]
    texts += [make(parts[name]) for name, make in makers.items() if name in parts]
    told = json.dumps(parts)
    used = {name: words for name, words in fits.items() if f'"{name}' in told}
    return "\n".join([*texts, _models(used)])


def _errors(found: dict[str, float]) -> str:
    energy, forces = found["energy_per_atom_mae"], found["forces_mae"]
    stress = f", stress {found['stress_mae']:.2f} meV/Å³" if "stress_mae" in found else ""
    return f"E {energy:.2f} meV/atom, F {forces:.1f} meV/Å{stress}"


def _kink(found: dict[str, Any]) -> str:
    sizes = ["", *(f"{size:g} Å" for size in found["displacements_A"])]
    rows = [
        [f"`epsilon: {name}`", *(f"{value:.3f}" for value in values)]
        for name, values in found["same_weights"].items()
    ]
    trained = sorted(found["trained"].items(), key=lambda item: float(item[0]))
    rows += [
        [f"trained with {name}", *(f"{value:.3f}" for value in one["force_constants_eV_per_A2"])]
        for name, one in trained
    ]
    spectra = [
        [
            f"`epsilon: {name}`",
            _errors(one["test_errors"]),
            f"{one['lowest_THz']:.3f}",
            f"{one['lowest_with_0.1_A_THz']:.3f}",
            f"{one['optical_at_gamma_THz']:.2f}",
            f"{one['nonlinearity']:.1%}",
        ]
        for name, one in trained
    ]
    columns = ("", "test MAE", "lowest, THz", "lowest with 0.1 Å, THz")
    columns += ("optical at Γ, THz", "nonlinearity")
    return f"""## Smooth on the sites of perfect crystals

The norm `sqrt(|v|^2 + epsilon)` in `painn` and `rmconv` has a curvature of 1/sqrt(epsilon) where
vectors vanish by symmetry. Force over displacement (eV/Å²) of one atom of perfect silicon, which
must not depend on a small displacement. In the first rows the weights are those trained with 0.01:

{table(sizes, rows)}

![force constants](acceptance/kink.png)

What it costs in accuracy, and what phonons (displacement 0.01 Å) become, with equal training:

{table(columns, spectra)}
"""


def _cutoff(found: dict[str, Any]) -> str:
    rows = [
        [
            name.replace("_", " "),
            f"{one['energy_change_eV']:.1e}",
            f"{one['energy_change_beside_eV']:.1e}",
            f"{one['forces_change_eV_per_A']:.1e}",
            f"{one['forces_change_beside_eV_per_A']:.1e}",
            f"{one['curvature_change_eV_per_A2']:.1e}",
        ]
        for name, one in found["models"].items()
    ]
    columns = ("", "energy, eV", "beside, eV", "forces, eV/Å", "beside, eV/Å")
    columns += ("change of their slope, eV/Å²",)
    return f"""## Atoms that cross the cutoff

The change of energy and of the forces' largest component when a pair of atoms moves across the
cutoff by {found["distance_A"]:g} Å, and for the next move of that length, which crosses nothing
(float64). A jump would be larger there than beside. With the first oxygen a class of atoms comes
into the surroundings of a center, and with it relations of `pair` and `triadic`: forces begin to
change there, half as much as in the next move, of which all is within the cutoff, and do not jump.

{table(columns, rows)}
"""


def _crystals(found: dict[str, Any]) -> str:
    rows, bands = [], []
    for element, one in found["elements"].items():
        values, reference = one["found"], one["reference"]
        pairs = [f"{values[name]:.4g} ({reference[name]:g})" for name in values]
        rows.append([element, *pairs, _errors(one["test_errors"])])
        spectrum = one["phonons"]
        bands.append(
            [
                element,
                f"{spectrum['acoustic_at_gamma_THz']:.1e}",
                f"{spectrum['optical_at_gamma_THz']:.2f}" if element in ("Si", "Ge") else "",
                f"{spectrum['lowest_THz']:.3f}",
                f"{spectrum['highest_THz']:.2f}",
                f"{spectrum['nonlinearity']:.1%}",
                f"{spectrum['lowest_with_0.1_A_THz']:.3f}",
            ]
        )
    columns = ("", "a, Å", "C11, GPa", "C12, GPa", "C44, GPa", "B, GPa", "test MAE")
    spectra = ("", "acoustic at Γ, THz", "optical at Γ, THz", "lowest, THz", "highest, THz")
    spectra += ("nonlinearity", "lowest with 0.1 Å, THz")
    return f"""## Elements

One model for each element of the mlearn set: `hermnet relax --cell`, `elastic
--no-relax`, `eos` and `phonons`. In brackets what the stresses of strained cells in the data
themselves give (clamped ions, as here).

{table(columns, rows)}

Phonons. Nonlinearity is how far forces are from growing in proportion to the displacement, which
is 0.01 Å; the last column is for 0.1 Å, as far as atoms move at 300 K.

{table(spectra, bands)}

{_soft(found["elements"])}![phonons of silicon](acceptance/phonons_Si.png)
![phonons of copper](acceptance/phonons_Cu.png)
![elastic constants of silicon](acceptance/elastic_Si.png)
![elastic constants of copper](acceptance/elastic_Cu.png)
"""


def _soft(elements: dict[str, Any]) -> str:
    """What is to be said of elements that are stable at the larger displacement only."""
    spectra = {name: one["phonons"] for name, one in elements.items()}
    soft = [
        name
        for name, one in spectra.items()
        if one["lowest_THz"] < -_NOISE < one["lowest_with_0.1_A_THz"]
    ]
    if not soft:
        return ""
    return f"""No mode at Γ is imaginary, but softer ones at the edge of the zone are, at 0.01 Å and
not at 0.1 Å: {", ".join(soft)}. So near a site the norm, a parabola below sqrt(epsilon), still
bends the energy down, and few frames of the data are so near.

"""


def _water(found: dict[str, Any]) -> str:
    rows = [
        [
            pair,
            *(f"{r:.2f} Å, {g:.2f}" for r, g in (row["peaks"][k] for k in ("model", "data"))),
            f"{row['shared_area']:.3f}",
        ]
        for pair, row in found["pairs"].items()
    ]
    columns = ("", "highest beyond the bond", "in the reference frames", "shared share of r² g(r)")
    models = [
        [
            f"`{name}`",
            _errors(row["validation_errors"]),
            f"{row['simulated_ps']:g}",
            f"{row['temperature_K']:.0f}",
            f"{row['nearest_hydrogens_A']:.2f}",
        ]
        for name, row in found["models"].items()
    ]
    return f"""## Water

`hermnet md` with a model of `water_deepmd` (192 atoms, {found["picoseconds"]:g} ps of Langevin
dynamics at 330 K, {found["frames"]} frames counted), and the radial distribution beside that of
the 400 reference frames.

{table(columns, rows)}

The recipe has 8 radial functions. `water_20` has the 20 that are the default elsewhere, which
oscillate faster between and beyond the distances that frames have; hydrogens nearer than in any
frame ({found["nearest_hydrogens_of_frames_A"]:.2f} Å) are bound where there should be nothing.

{table(("", "validation MAE", "ps simulated", "K", "nearest hydrogens, Å"), models)}

![radial distribution](acceptance/water_rdf.png)
![simulation](acceptance/water_md.png)
"""


def _models(fits: dict[str, list[str]]) -> str:
    lines = [f"    hermnet fit --config {words[0]} name={name} " for name, words in fits.items()]
    told = [
        line + " ".join(f'"{word}"' if " " in word or "[" in word else word for word in words[1:])
        for line, words in zip(lines, fits.values(), strict=True)
    ]
    notes = [note for name, note in _NOTES.items() if name in fits]
    return "\n".join(["## How the models were trained", "", *told, "", *notes])
