"""What exporting gains: energies with forces of 9 and 512 atoms, eager, compiled and exported.

Run ``python benchmarks/export.py``; benchmarks/README.md says what it prints.
"""

from __future__ import annotations

import itertools
import time
import warnings
from statistics import median
from typing import Any

import torch
from ase import Atoms
from ase.build import bulk, molecule
from measure import Stopwatch, inference, machine, median_ratio, parser, write

from hermnet.checks import random_potential
from hermnet.compiled import CompiledEvaluator
from hermnet.export.compiling import compile_potential, describe_model, deviation
from hermnet.export.exported import ExportedPotential
from hermnet.graph import AtomicGraph
from hermnet.model_options import ModelOptions
from hermnet.neighbors import graph_from_atoms
from hermnet.potential import Potential
from hermnet.relations import SCHEMES
from hermnet.subnetwork import SUBNETS

ELEMENTS = (1, 6, 8, 16, 30)
SMALL = {"n_channels": 8, "n_layers": 1, "n_radial": 4, "cutoff": 4.0}
QUICK = {"aot_inductor.compile_wrapper_opt_level": "O0"}  # what calls the kernels, not these
FORMS = ("eager", "compiled", "exported")


def structures() -> dict[str, Atoms]:
    """Ethanol, and a displaced zincblende of 512 atoms."""
    solid = bulk("ZnS", "zincblende", a=5.41, cubic=True).repeat(4)
    solid.rattle(0.05, seed=0)
    return {"9 atoms": molecule("CH3CH2OH"), "512 atoms": solid}


def export(potential: Potential, **options: Any) -> ExportedPotential:
    """Compile, with options of torch's compiler, and load."""
    about = describe_model(potential)
    return ExportedPotential(compile_potential(potential, about, options=options))


def combination(subnet: str, relations: str) -> float:
    """Deviation of a small exported model of random weights from the eager one, in float64."""
    options = ModelOptions(subnet=subnet, relations=relations, dtype="float64", **SMALL)
    potential = random_potential(options, ELEMENTS)
    return deviation(export(potential, **QUICK), potential)


def measure(options: ModelOptions, watch: Stopwatch) -> dict[str, Any]:
    """Seconds to compile, medians, and ratios."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        models: dict[str, Any] = {
            form: Potential(options, ELEMENTS, 18.0).requires_grad_(False) for form in FORMS[:2]
        }
    models["compiled"].load_state_dict(models["eager"].state_dict())
    models["compiled"].evaluate = CompiledEvaluator()
    start = time.perf_counter()
    models["exported"] = export(models["eager"])
    found: dict[str, Any] = {"seconds to export": time.perf_counter() - start}
    for name, atoms in structures().items():
        graph = graph_from_atoms(atoms, options.cutoff)
        found[name] = times_of(models, graph, watch)
    return found


def times_of(models: dict[str, Any], graph: AtomicGraph, watch: Stopwatch) -> dict[str, Any]:
    """Medians of each form, and how many times faster than eager it is."""
    times = watch.alternate({form: inference(model, graph) for form, model in models.items()})
    found: dict[str, Any] = {"edges": graph.n_edges}
    for form, values in times.items():
        found[form] = median(values)
        found[f"eager/{form}"] = median_ratio(times["eager"], values)
    return found


def main() -> None:
    """Run, print, save."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--subnet", default="painn", help="hermnet list subnets (painn)")
    options.add_argument("--relations", default="vertex", help="hermnet list relations (vertex)")
    options.add_argument("--subnets", nargs="*", default=[], help="to compare with eager, or all")
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    warnings.filterwarnings("error", message="compilation failed")  # else it would time eager twice
    watch = Stopwatch(given.rounds, given.clock, torch.device(given.device))
    model = ModelOptions(subnet=given.subnet, relations=given.relations)
    found = measure(model, watch)
    print(f"{given.subnet}, {given.relations}; exported in {found['seconds to export']:.0f} s")
    for name in structures():
        row = found[name]
        shown = (f"{form} {1e3 * row[form]:.2f} ms (x{row[f'eager/{form}']:.2f})" for form in FORMS)
        print(f"{name}, {row['edges']} edges: {', '.join(shown)}")
    settings = {name: getattr(given, name) for name in ("subnet", "relations", "rounds", "clock")}
    about = {**settings, "machine": machine(given.threads, watch.device), **found}
    write(given.output, "export", about)
    subnets = SUBNETS.names() if given.subnets == ["all"] else given.subnets
    deviations: dict[str, float] = {}
    for subnet, relations in itertools.product(subnets, SCHEMES):
        deviations[f"{subnet} {relations}"] = combination(subnet, relations)
        print(f"{subnet:8s} {relations:8s} {deviations[f'{subnet} {relations}']:.1e}", flush=True)
        write(given.output, "export", {**about, "deviations": deviations})


if __name__ == "__main__":
    main()
