"""Acceptance of potentials of elements: smoothness, lattice, elastic constants, phonons."""

from __future__ import annotations

import csv
from typing import Any

import ase.io
import numpy as np
from acceptance_work import Work
from ase.build import bulk
from pictures import keep_picture

from hermnet.calculator import HermNetCalculator
from hermnet.properties.report import picture
from hermnet.properties.structures import read_structure
from hermnet.subnets.painn import PaiNN

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
EPSILONS = (1e-8, 1e-4, 1e-2)
SILICON = {"Si_1e-8": 1e-8, "Si_0.01": 1e-2, "Si_0.1": 0.1}  # beside the recipe's epsilon, 1


def kink(work: Work) -> dict[str, Any]:
    """Force constants of perfect silicon against the displacement that measures them."""
    found: dict[str, Any] = {"displacements_A": list(SIZES), "same_weights": {}}
    checkpoint = work.checkpoint("Si_0.01")
    if checkpoint is None:
        raise SystemExit("no model of silicon with an epsilon of 0.01: train it first")
    calculator = HermNetCalculator(work.folder / checkpoint, dtype="float64")
    for epsilon in EPSILONS:
        found["same_weights"][f"{epsilon:g}"] = _force_constants(calculator, epsilon)
    found["trained"] = trained = {}
    for model in ("Si", *SILICON):
        checkpoint = work.checkpoint(model)
        done = checkpoint is not None and (work.folder / f"runs/{model}/results.json").is_file()
        if done and _relaxed(work, model) and _phonons(work, model):
            calculator = HermNetCalculator(work.folder / checkpoint, dtype="float64")
            epsilon = calculator.potentials[0].options.subnet["epsilon"]
            trained[f"{epsilon:g}"] = {
                "model": model,
                "force_constants_eV_per_A2": _force_constants(calculator, epsilon),
                "test_errors": work.read(f"runs/{model}/results.json")["test"],
                **_spectrum(work, model),
            }
    with picture(work.results / "kink.png") as (axis,):
        for name, values in found["same_weights"].items():
            axis.plot(SIZES, values, marker="o", label=f"epsilon = {name}")
        for name, one in trained.items():
            values = one["force_constants_eV_per_A2"]
            label = f"trained with {name}"
            axis.plot(SIZES, values, marker="s", linestyle="--", markersize=4, label=label)
        axis.set(xscale="log", xlabel="displacement, A", ylabel="force / displacement, eV/A$^2$")
        axis.set_yscale("symlog", linthresh=20)
        axis.legend(frameon=False)
    return found


def _force_constants(calculator: HermNetCalculator, epsilon: float) -> list[float]:
    """Force over displacement of an atom of perfect silicon in eV/A^2."""
    for module in calculator.potentials[0].modules():
        if isinstance(module, PaiNN):
            module.epsilon = epsilon
    atoms = bulk("Si", "diamond", a=REFERENCE["Si"][1], cubic=True) * (2, 2, 2)
    constants = []
    for size in SIZES:
        moved = atoms.copy()
        moved.positions[0, 0] += size
        calculator.reset()
        moved.calc = calculator
        constants.append(float(-moved.get_forces()[0, 0] / size))
    return constants


def crystals(work: Work) -> dict[str, Any]:
    """Lattice constants, elastic constants, bulk moduli and phonons of the five elements."""
    found = {}
    for element in REFERENCE:
        checkpoint = work.checkpoint(element)
        done = (work.folder / "runs" / element / "results.json").is_file()
        if checkpoint is not None and done and _compute(work, element):
            found[element] = _crystal(work, element)
    return {"elements": found}


def _compute(work: Work, element: str) -> bool:
    """All commands on an element; whether their output is there."""
    name, common = _of(work, element)
    cell = f"{name}_relax/relaxed.xyz"
    return (
        _relaxed(work, element)
        and work.hermnet(f"{name}_elastic", "elastic", cell, *common, "--no-relax")
        and work.hermnet(f"{name}_eos", "eos", cell, *common, "--no-relax", "--span", 0.03)
        and _phonons(work, element)
    )


def _of(work: Work, model: str) -> tuple[str, tuple[object, ...]]:
    """Where results of a model begin, and what its commands share."""
    checkpoint = work.checkpoint(model)
    return f"crystals/{model}", ("--checkpoint", checkpoint, "--dtype", "float64")


def _relaxed(work: Work, model: str) -> bool:
    element = model.partition("_")[0]
    structure, a = REFERENCE[element][:2]
    start = work.folder / f"{element}.xyz"
    ase.io.write(start, bulk(element, structure, a=a, cubic=True))
    name, common = _of(work, model)
    to_relax = ("--cell", "--fmax", 1e-4, "--optimizer", "bfgs")
    return work.hermnet(f"{name}_relax", "relax", start, *common, *to_relax)


def _phonons(work: Work, model: str) -> bool:
    name, common = _of(work, model)
    words = (f"{name}_relax/relaxed.xyz", *common, "--mesh", 12, 12, 12)
    return work.hermnet(f"{name}_phonons", "phonons", *words) and work.hermnet(
        f"{name}_phonons_wide", "phonons", *words, *_WIDE
    )


def _crystal(work: Work, element: str) -> dict[str, Any]:
    reference = REFERENCE[element][1:]
    cell = f"crystals/{element}_relax/relaxed.xyz"
    elastic, phonons = f"crystals/{element}_elastic", f"crystals/{element}_phonons"
    tensor = work.read(f"{elastic}/elastic.json")["elastic_constants_GPa"]
    values = (
        float(read_structure(work.folder / cell).cell.lengths().mean()),
        *(float(np.mean([tensor[i][j] for i, j in places])) for places in _CUBIC),
        work.read(f"crystals/{element}_eos/eos.json")["bulk_modulus_GPa"],
    )
    if element in ("Si", "Cu"):
        keep_picture(work.folder / phonons / "phonons.png", work.results / f"phonons_{element}.png")
        keep_picture(work.folder / elastic / "elastic.png", work.results / f"elastic_{element}.png")
    return {
        "found": dict(zip(NAMES, values, strict=True)),
        "reference": dict(zip(NAMES, reference, strict=True)),
        "test_errors": work.read(f"runs/{element}/results.json")["test"],
        "phonons": _spectrum(work, element),
    }


def _spectrum(work: Work, model: str) -> dict[str, Any]:
    """What phonons of a model say, with the usual displacement and a wide one."""
    phonons = f"crystals/{model}_phonons"
    spectrum, wide = (work.read(f"{name}/phonons.json") for name in (phonons, f"{phonons}_wide"))
    bands = (work.folder / phonons / "bands.csv").read_text(encoding="utf-8").splitlines()
    at_gamma = np.array(list(csv.reader(bands))[1][1:], dtype=float)
    acoustic = np.abs(at_gamma[np.argsort(np.abs(at_gamma))[:3]])
    return {
        "lowest_THz": spectrum["lowest_THz"],
        "highest_THz": spectrum["highest_THz"],
        "acoustic_at_gamma_THz": float(acoustic.max()),
        "optical_at_gamma_THz": float(at_gamma.max()),
        "imaginary_at_gamma": bool(at_gamma.min() < -ACOUSTIC),
        "nonlinearity": spectrum["nonlinearity"],
        "lowest_with_0.1_A_THz": wide["lowest_THz"],
    }


_WIDE = ("--displacement", 0.1)  # A; that of atoms at some 300 K
_CUBIC = (
    ((0, 0), (1, 1), (2, 2)),
    ((0, 1), (0, 2), (1, 2)),
    ((3, 3), (4, 4), (5, 5)),
)
