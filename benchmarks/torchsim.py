"""What a batch gains: small structures relaxed together by torch-sim and one at a time by ASE.

Run ``python benchmarks/torchsim.py best.ckpt`` where torch-sim is installed; benchmarks/README.md
says what it prints.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from importlib.metadata import version
from statistics import mean
from typing import Any

import numpy as np
import torch
import torch_sim as ts
from ase import Atoms
from ase.build import bulk, molecule
from ase.optimize import FIRE
from measure import machine, parser, write

from hermnet import HermNetCalculator
from hermnet.engines.torchsim import TorchSimModel

MAX_STEPS = 500
_STEPS_BETWEEN_SWAPS = 5  # torch-sim looks for converged structures this often


def frames(name: str, n_structures: int) -> list[Atoms]:
    """Distorted copies of a molecule, or of the cubic cell of a chemical element."""
    found = []
    for seed in range(n_structures):
        try:
            atoms = molecule(name)
        except KeyError:
            atoms = bulk(name, cubic=True)
        atoms.rattle(0.1, seed=seed)
        found.append(atoms)
    return found


def one_at_a_time(
    structures: list[Atoms], calculator: HermNetCalculator, fmax: float
) -> dict[str, list[float]]:
    """Relax with ASE; evaluations and final energy (eV) of each structure."""
    counts, energies = [], []
    for atoms in structures:
        atoms.calc = calculator
        relaxation = FIRE(atoms, logfile=None)
        relaxation.run(fmax=fmax, steps=MAX_STEPS)
        counts.append(float(relaxation.nsteps + 1))
        energies.append(atoms.get_potential_energy())
    return {"evaluations": counts, "energies": energies}


def together(
    structures: list[Atoms], model: TorchSimModel, fmax: float, batch: int
) -> dict[str, list[float]]:
    """Relax with torch-sim, `batch` structures at any time; the same of each structure."""
    n_atoms = max(len(atoms) for atoms in structures)
    batcher = ts.InFlightAutoBatcher(
        model, memory_scales_with="n_atoms", max_memory_scaler=float(batch * n_atoms)
    )
    converged = ts.generate_force_convergence_fn(force_tol=fmax, include_cell_forces=False)
    evaluated = 0

    def counting(module: Any, given: tuple[Any, ...]) -> None:
        nonlocal evaluated
        evaluated += given[0].n_systems

    hook = model.register_forward_pre_hook(counting)
    final = ts.optimize(
        ts.io.atoms_to_state(structures, model.device, model.dtype),
        model,
        optimizer=ts.Optimizer.fire,
        convergence_fn=converged,
        autobatcher=batcher,
        max_steps=MAX_STEPS,
        steps_between_swaps=_STEPS_BETWEEN_SWAPS,
    )
    hook.remove()
    return {"evaluations": [evaluated / len(structures)], "energies": final.energy.tolist()}


def timed(clock: str, action: Callable[[], dict[str, list[float]]]) -> tuple[float, dict[str, Any]]:
    """Seconds that an action takes, and what it returns."""
    now = time.perf_counter if clock == "wall" else time.process_time
    start = now()
    found = action()
    return now() - start, found


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Both ways; the sample that is relaxed one at a time half before the batch, half after."""
    device = arguments.device
    calculator = HermNetCalculator(arguments.checkpoint, device=device)
    model = TorchSimModel(arguments.checkpoint, device=device)
    structures = frames(arguments.structure, arguments.structures)
    sample = structures[:: max(1, len(structures) // arguments.sample)]
    half = len(sample) // 2
    warm = frames(arguments.structure, 4)
    together(warm, model, fmax=arguments.fmax, batch=arguments.batch)
    one_at_a_time(warm[:1], calculator, arguments.fmax)

    def alone(some: list[Atoms]) -> dict[str, list[float]]:
        return one_at_a_time([atoms.copy() for atoms in some], calculator, arguments.fmax)

    clock = arguments.clock
    first, before = timed(clock, lambda: alone(sample[:half]))
    seconds, batched = timed(
        clock, lambda: together(structures, model, arguments.fmax, arguments.batch)
    )
    second, after = timed(clock, lambda: alone(sample[half:]))
    each = {"one at a time": (first + second) / len(sample), "together": seconds / len(structures)}
    energies = np.array(before["energies"] + after["energies"])
    mine = np.array(batched["energies"])[:: max(1, len(structures) // arguments.sample)]
    return {
        "structures": len(structures),
        "sample": len(sample),
        "seconds_per_structure": each,
        "ratio": each["one at a time"] / each["together"],
        "ratios_of_halves": [
            t / n / each["together"] for t, n in ((first, half), (second, len(sample) - half))
        ],
        "evaluations_per_structure": {
            "one at a time": mean(before["evaluations"] + after["evaluations"]),
            "together": batched["evaluations"][0],
        },
        "largest_difference_of_energies_eV": float(np.abs(energies - mine).max()),
        "median_difference_of_energies_eV": float(np.median(np.abs(energies - mine))),
    }


def main() -> None:
    """Measure, print and save."""
    options = parser(__doc__ or "")
    options.add_argument("checkpoint", help="of a potential that knows the structure's elements")
    options.add_argument("--structure", default="CH3CH2OH", help="a molecule of ASE or an element")
    options.add_argument("--structures", type=int, default=1000, help="relaxed together (1000)")
    options.add_argument("--sample", type=int, default=50, help="relaxed one at a time (50)")
    options.add_argument("--batch", type=int, default=100, help="structures in a batch (100)")
    options.add_argument("--fmax", type=float, default=0.05, help="eV/A (0.05)")
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    found = measure(arguments)
    for way, seconds in found["seconds_per_structure"].items():
        n_evaluations = found["evaluations_per_structure"][way]
        print(f"{way:14} {1e3 * seconds:8.1f} ms per structure, {n_evaluations:.1f} evaluations")
    print(f"ratio {found['ratio']:.1f}")
    about = machine(arguments.threads, torch.device(arguments.device))
    about["versions"]["torch-sim-atomistic"] = version("torch-sim-atomistic")
    chosen = {name: vars(arguments)[name] for name in ("structure", "batch", "fmax", "clock")}
    write(arguments.output, "torchsim", {"machine": about, **chosen, **found})


if __name__ == "__main__":
    main()
