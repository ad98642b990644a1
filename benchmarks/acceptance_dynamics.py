"""Acceptance of dynamics: conserved energy, and cutoffs that are not felt."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from acceptance_drift import Curve, draw
from acceptance_work import Work
from ase import Atoms, units
from ase.build import bulk, molecule
from numpy.typing import NDArray

from hermnet.calculator import HermNetCalculator
from hermnet.relations import SCHEMES

Array = NDArray[np.float64]
MODELS = (*SCHEMES, *(f"{scheme}_sharp" for scheme in SCHEMES))  # sharp: epsilon 1e-8
BOUNDS = {"float64": 1e-5, "float32": 1e-4}  # eV/atom/ps
_HEATED = 600.0  # K, of velocities near a minimum of energy, half of which stays
_STEPS = {"ethanol": 40_000, "silicon": 10_000}  # 20 ps
_TINY = 1e-6  # A, to either side of the cutoff


def nve(work: Work) -> dict[str, Any]:
    """Energy of isolated simulations over time."""
    curves: dict[str, Curve] = {}
    found: dict[str, Any] = {}
    for dtype in BOUNDS:
        systems = {f"ethanol_{model}": (9, 0.5, _STEPS["ethanol"]) for model in MODELS}
        systems["silicon_512"] = (512, 2.0, _STEPS["silicon"])
        for system, (n_atoms, timestep, steps) in systems.items():
            name = f"{system}_{dtype}"
            model = "Si" if system == "silicon_512" else system
            if _simulate(work, model, name, (timestep, round(steps * work.scale))):
                found[name], curves[name] = _drift(work.folder / "nve" / name, n_atoms)
        of_dtype = {n.removesuffix(f"_{dtype}"): c for n, c in curves.items() if n.endswith(dtype)}
        if of_dtype:
            draw(work.results / f"nve_{dtype}.png", dtype, of_dtype)
    runs = {f"ethanol_{model}": f"runs/ethanol_{model}/results.json" for model in MODELS}
    errors = {m: work.read(p)["test"] for m, p in runs.items() if (work.folder / p).is_file()}
    return {"simulations": found, "bounds_eV_per_atom_per_ps": BOUNDS, "test_errors": errors}


def _simulate(work: Work, model: str, name: str, length: tuple[float, int]) -> bool:
    """Run it; whether the simulation is there."""
    if work.collects:
        return (work.folder / "nve" / name / "md.json").is_file()
    dtype, solid = name.rpartition("_")[2], model == "Si"
    # what is exported has no kernels of our own, which pay with many atoms
    potential = work.checkpoint(model) if solid else work.exported(model, dtype)
    if potential is None:
        return False
    silicon = bulk("Si", "diamond", a=5.469, cubic=True) * (4, 4, 4)
    start = work.folder / f"{model}_start.xyz"
    ase.io.write(start, silicon if solid else molecule("CH3CH2OH"))
    words = ("md", start, "--checkpoint", potential, "--ensemble", "nve", "--dtype", dtype)
    every = 5 if solid else 1  # each step's forces say what the shadow energy is
    timed = ("--timestep", length[0], "--steps", length[1], "--every", every)
    heated = ("--temperature", _HEATED, "--save-every", 500)
    compiled = ("--compile",) if solid else ()
    return work.hermnet(f"nve/{name}", *words, *heated, *timed, *compiled)


def _drift(folder: Path, n_atoms: int) -> tuple[dict[str, float], Curve]:
    """Slope of the total energy, its error, and how it fluctuates."""
    rows = list(csv.DictReader((folder / "thermo.csv").read_text().splitlines()))
    times = np.array([float(row["time_fs"]) for row in rows]) / 1000
    energies = np.array([float(row["conserved_energy_eV"]) for row in rows]) / n_atoms
    kelvin = np.array([float(row["temperature_K"]) for row in rows])
    summary = {
        "picoseconds": float(times[-1]),
        "mean_temperature_K": float(kelvin[len(kelvin) // 4 :].mean()),
        **_slope(times, energies),
        "largest_step_eV_per_atom": float(np.abs(np.diff(energies)).max()),
    }
    if rows[1]["step"] == "1":
        shift = shadow_shift(folder / "trajectory.xyz", float(rows[1]["time_fs"])) / n_atoms
        shadow = energies[1:-1] + shift
        found = _slope(times[1:-1], shadow)
        found["largest_step_eV_per_atom"] = float(np.abs(np.diff(shadow)).max())
        summary |= {f"shadow_{name}": value for name, value in found.items()}
    return summary, (times, energies - energies[0])


def _slope(times: Array, energies: Array) -> dict[str, float]:
    """Of all but the first quarter, in which kinetic energy becomes potential energy.

    The error is that of a random walk whose steps are those between the means of eight blocks. With
    a variance s per unit of time, over a time T, these steps have 2/3 s T/8, and a slope 6/5 s/T.
    """
    late = slice(len(times) // 4, None)
    slope, offset = np.polyfit(times[late], energies[late], 1)
    rest = (energies - slope * times - offset)[late]
    steps = np.diff([block.mean() for block in np.array_split(rest, 8)])
    error = np.sqrt(6 / 5 * 3 / 2 * 8 * steps.var(ddof=1)) / (times[-1] - times[late][0])
    return {
        "drift_eV_per_atom_per_ps": float(slope),
        "error_of_drift": float(error),
        "fluctuation_eV_per_atom": float(rest.std()),
    }


def shadow_shift(trajectory: Path, timestep: float) -> Array:
    """How far the energy that velocity Verlet itself conserves is above the energy, in eV.

    To fourth order in the timestep h it is ``h^2 (v V'' v / 12 - F^2 / (24 m))``, from the
    commutators of both halves of a step; ``V'' v`` is taken from the forces before and after.

    Args:
        trajectory: of `hermnet md`, with each step.
        timestep: in fs.

    Returns:
        (n_frames - 2,), of all frames but the first and last.
    """
    lines = trajectory.read_text(encoding="utf-8").splitlines()
    period = int(lines[0]) + 2
    if "Properties=species:S:1:pos:R:3:momenta:R:3:forces:R:3" not in lines[1]:
        raise ValueError(f"{trajectory}: {lines[1]}")
    table = [line.split() for k, line in enumerate(lines) if k % period > 1]
    masses = Atoms([row[0] for row in table[: period - 2]]).get_masses()[:, None]
    values = np.array([row[1:] for row in table], dtype=float).reshape(-1, period - 2, 3, 3)
    momenta, forces = values[:, :, 1], values[:, :, 2]
    h = timestep * units.fs
    bending = -(forces[2:] - forces[:-2]) / (2 * h) * momenta[1:-1] / masses
    shift: Array = bending.sum(axis=(1, 2)) / 12 - (forces[1:-1] ** 2 / masses).sum((1, 2)) / 24
    return h**2 * shift


def cutoff(work: Work) -> dict[str, Any]:
    """What changes as a pair of atoms crosses the cutoff, next to what a usual move changes."""
    found: dict[str, Any] = {}
    for scheme in SCHEMES:
        checkpoint = work.checkpoint(f"ethanol_{scheme}")
        if checkpoint is not None:
            calculator = HermNetCalculator(work.folder / checkpoint, dtype="float64")
            found[f"ethanol_{scheme}"] = _crossing(_two_molecules(), 9, calculator)
            found[f"ethanol_{scheme}_first_oxygen"] = _crossing(_lone_oxygen(), 5, calculator)
    checkpoint = work.checkpoint("Si")
    if checkpoint is not None:
        calculator = HermNetCalculator(work.folder / checkpoint, dtype="float64")
        atoms = bulk("Si", "diamond", a=5.469, cubic=True) * (3, 3, 3)
        atoms.rattle(0.05, seed=0)
        found["silicon"] = _crossing(atoms, 1, calculator)
    return {"models": found, "distance_A": 2 * _TINY}


def _two_molecules() -> Atoms:
    one, other = molecule("CH3CH2OH"), molecule("CH3CH2OH")
    other.rotate(70, "x")
    other.translate((0.3, 5.5, 0.4))
    both: Atoms = one + other
    return both


def _lone_oxygen() -> Atoms:
    """Around whose neighbors there is no oxygen yet, and nothing around itself."""
    both: Atoms = molecule("CH4") + Atoms("O", positions=[(5.9, 0.3, 0.2)])
    return both


def _crossing(atoms: Atoms, n_fixed: int, calculator: HermNetCalculator) -> dict[str, float]:
    """Move all but the first atoms along x until a pair of the two parts is at the cutoff."""
    direction = np.zeros((len(atoms), 3))
    direction[:n_fixed, 0] = 1.0
    reach, distances = calculator.cutoff, []
    for shift in np.arange(0.0, 0.5, 1e-3):  # the first pair that leaves or enters
        distances.append(_distances(atoms, shift * direction, n_fixed) < reach)
        if len(distances) > 1 and (distances[-1] != distances[-2]).any():
            break
    low, high = shift - 1e-3, shift
    for _ in range(60):
        middle = (low + high) / 2
        same = (_distances(atoms, middle * direction, n_fixed) < reach) == distances[-2]
        low, high = (middle, high) if same.all() else (low, middle)

    def at(shift: float) -> tuple[float, Array]:
        moved = atoms.copy()
        moved.positions += shift * direction
        moved.calc = calculator
        return moved.get_potential_energy(), moved.get_forces()

    shifts = (low + k * _TINY for k in (-3, -1, 1, 3))
    (_, f0), (e1, f1), (e2, f2), (e3, f3) = map(at, shifts)
    return {
        "at_shift_A": float(low),
        "energy_change_eV": abs(e2 - e1),
        "energy_change_beside_eV": abs(e3 - e2),
        "forces_change_eV_per_A": float(np.abs(f2 - f1).max()),
        "forces_change_beside_eV_per_A": float(np.abs(f3 - f2).max()),
        "curvature_change_eV_per_A2": float(np.abs(f3 - f2 - f1 + f0).max() / (2 * _TINY)),
    }


def _distances(atoms: Atoms, moves: Array, n_fixed: int) -> Array:
    moved = atoms.copy()
    moved.positions += moves
    found: Array = moved.get_all_distances(mic=bool(atoms.pbc.any()))[:n_fixed, n_fixed:]
    return found
