"""Acceptance of potentials of elements: smoothness, lattice, elastic constants, phonons."""

from __future__ import annotations

import csv
import shutil
from typing import TYPE_CHECKING, Any

import ase.io
import numpy as np
from ase.build import bulk

from hermnet.calculator import HermNetCalculator
from hermnet.properties.report import picture
from hermnet.properties.structures import read_structure

if TYPE_CHECKING:
    from acceptance import Work

# Lattice constant in A; C11, C12, C44 and bulk modulus in GPa: from the stresses of strained cells
# in the data themselves, clamped ions.
REFERENCE = {
    "Cu": ("fcc", 3.616, 172, 139, 85, 150),
    "Ni": ("fcc", 3.508, 287, 166, 138, 206),
    "Mo": ("bcc", 3.168, 479, 164, 108, 269),
    "Si": ("diamond", 5.469, 153, 57, 99, 89),
    "Ge": ("diamond", 5.754, 108, 41, 76, 64),
}
NAMES = ("a_A", "C11_GPa", "C12_GPa", "C44_GPa", "B_GPa")
SIZES = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)  # displacements in A
ACOUSTIC = 0.05  # THz at Gamma, where three modes are zero but for rounding
KINKED = {"Si": "1e-2", "Si_kinked": "1e-8"}


def kink(work: Work) -> dict[str, Any]:
    """Force constants of perfect silicon against the displacement that measures them."""
    found: dict[str, Any] = {"displacements_A": list(SIZES)}
    atoms = bulk("Si", "diamond", a=REFERENCE["Si"][1], cubic=True) * (2, 2, 2)
    for model, epsilon in KINKED.items():
        checkpoint = work.checkpoint(model)
        if checkpoint is None:
            continue
        calculator = HermNetCalculator(work.folder / checkpoint, dtype="float64")
        constants = []
        for size in SIZES:
            moved = atoms.copy()
            moved.positions[0, 0] += size
            moved.calc = calculator
            constants.append(float(-moved.get_forces()[0, 0] / size))
        entry: dict[str, Any] = {"epsilon": epsilon, "force_constants_eV_per_A2": constants}
        entry["spread"] = float(np.ptp(constants) / abs(constants[-1]))
        entry["test_errors"] = work.read(f"runs/{model}/results.json")["test"]
        found[model] = entry
    for name in ("ethanol_vertex", "ethanol_soft"):
        if (work.folder / "runs" / name / "results.json").is_file():
            found[name] = {"test_errors": work.read(f"runs/{name}/results.json")["test"]}
    with picture(work.results / "kink.png") as (axis,):
        for model, epsilon in KINKED.items():
            if model in found:
                values = found[model]["force_constants_eV_per_A2"]
                axis.plot(SIZES, values, marker="o", label=f"epsilon = {epsilon}")
        axis.set(xscale="log", xlabel="displacement, A", ylabel="force / displacement, eV/A$^2$")
        axis.legend(frameon=False)
    return found


def crystals(work: Work) -> dict[str, Any]:
    """Lattice constants, elastic constants, bulk moduli and phonons of the five elements."""
    found = {}
    for element in REFERENCE:
        checkpoint = work.checkpoint(element)
        if checkpoint is not None:
            found[element] = _crystal(work, element, str(checkpoint))
    return {"elements": found}


def _crystal(work: Work, element: str, checkpoint: str) -> dict[str, Any]:
    structure, *reference = REFERENCE[element]
    start = work.folder / f"{element}.xyz"
    ase.io.write(start, bulk(element, structure, a=reference[0], cubic=True))
    common = ("--checkpoint", checkpoint, "--dtype", "float64")
    relaxed = f"crystals/{element}_relax"
    work.hermnet(relaxed, "relax", start, *common, "--cell", "--fmax", 1e-4, "--optimizer", "bfgs")
    cell = f"{relaxed}/relaxed.xyz"
    elastic = f"crystals/{element}_elastic"
    work.hermnet(elastic, "elastic", cell, *common, "--no-relax")
    work.hermnet(f"crystals/{element}_eos", "eos", cell, *common, "--no-relax", "--span", 0.03)
    phonons = f"crystals/{element}_phonons"
    work.hermnet(phonons, "phonons", cell, *common, "--mesh", 12, 12, 12)
    tensor = work.read(f"{elastic}/elastic.json")["elastic_constants_GPa"]
    bands = work.folder / phonons / "bands.csv"
    spectrum = work.read(f"{phonons}/phonons.json")
    at_gamma = np.array(list(csv.reader(bands.read_text().splitlines()))[1][1:], dtype=float)
    values = (
        float(read_structure(work.folder / cell).cell.lengths().mean()),
        *(float(np.mean([tensor[i][j] for i, j in places])) for places in _CUBIC),
        work.read(f"crystals/{element}_eos/eos.json")["bulk_modulus_GPa"],
    )
    acoustic = np.abs(at_gamma[np.argsort(np.abs(at_gamma))[:3]])
    if element in ("Si", "Cu"):
        shutil.copy(work.folder / phonons / "phonons.png", work.results / f"phonons_{element}.png")
        shutil.copy(work.folder / elastic / "elastic.png", work.results / f"elastic_{element}.png")
    return {
        "found": dict(zip(NAMES, values, strict=True)),
        "reference": dict(zip(NAMES, reference, strict=True)),
        "test_errors": work.read(f"runs/{element}/results.json")["test"],
        "phonons": {
            "lowest_THz": spectrum["lowest_THz"],
            "highest_THz": spectrum["highest_THz"],
            "acoustic_at_gamma_THz": float(acoustic.max()),
            "optical_at_gamma_THz": float(at_gamma.max()),
            "imaginary_at_gamma": bool(at_gamma.min() < -ACOUSTIC),
            "nonlinearity": spectrum["nonlinearity"],
        },
    }


_CUBIC = (
    ((0, 0), (1, 1), (2, 2)),
    ((0, 1), (0, 2), (1, 2)),
    ((3, 3), (4, 4), (5, 5)),
)
