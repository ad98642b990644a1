"""What relations cost: `vertex` as one pass, loop, basis, or in some layers, against none.

A training step and energies with forces of a 216-atom fcc alloy of 1, 3, 5 and 10 elements, with
PaiNN. Run ``python benchmarks/relations.py``; benchmarks/README.md says what the numbers mean.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import replace
from statistics import median
from typing import Any

import torch
from loop import loop_over
from measure import (
    Stopwatch,
    adamw,
    inference,
    machine,
    median_ratio,
    parser,
    training_step,
    write,
)
from systems import METALS, alloy

from hermnet.compiled import CompiledEvaluator
from hermnet.graph import AtomicGraph
from hermnet.host.heap import keep_freed_memory
from hermnet.model_options import ModelOptions
from hermnet.potential import Potential

OPTIONS = ModelOptions(subnet="painn", n_channels=64, n_layers=3, cutoff=5.0)
VARIANTS = {
    "none": replace(OPTIONS, relations="none"),
    "one-pass": replace(OPTIONS, relations="vertex"),
    "loop": replace(OPTIONS, relations="vertex"),
    "basis:4": replace(OPTIONS, relations="vertex", sharing="basis:4"),
    "filters": replace(OPTIONS, relations="vertex", heterogeneity="filters"),
    "update": replace(OPTIONS, relations="vertex", heterogeneity="update"),
}


def make_potential(variant: str, graph: AtomicGraph, compiled: bool) -> Potential:
    """The potential of a variant for the elements of a graph; the loop is never compiled."""
    torch.manual_seed(0)
    elements = tuple(graph.atomic_numbers.unique().tolist())
    potential = Potential(VARIANTS[variant], elements, graph.n_edges / graph.n_atoms)
    if variant == "loop":
        loop_over(potential)
    elif compiled:
        potential.evaluate = CompiledEvaluator()
    return potential.to(graph.positions.device)


def measure(graph: AtomicGraph, watch: Stopwatch, compiled: bool) -> dict[str, Any]:
    """Median seconds of each variant, and its ratio to `none` within a round, for both tasks."""
    training: dict[str, Callable[[], object]] = {}
    predicting: dict[str, Callable[[], object]] = {}
    for name in VARIANTS:
        potential = make_potential(name, graph, compiled)
        optimizer = adamw(potential)
        training[name] = training_step(potential, graph, optimizer)
        predicting[name] = inference(potential, graph)
    tasks = {"training step": training, "energy+forces": predicting}
    return {task: _summary(watch.alternate(actions)) for task, actions in tasks.items()}


def _summary(times: Mapping[str, list[float]]) -> dict[str, dict[str, float]]:
    return {
        name: {"seconds": median(values), "ratio": median_ratio(values, times["none"])}
        for name, values in times.items()
    }


def report(n_elements: int, graph: AtomicGraph, found: Mapping[str, Any]) -> None:
    """Print one row for each task."""
    for task, variants in found.items():
        cells = [f"{1e3 * v['seconds']:8.1f} ms x{v['ratio']:5.2f}" for v in variants.values()]
        print(f"{n_elements:8d} {graph.n_edges:6d}  {task:14s}" + "".join(cells), flush=True)


def main() -> None:
    """Run, print, save."""
    options = parser(__doc__.splitlines()[0])
    counts = range(1, len(METALS) + 1)
    options.add_argument("--elements", type=int, nargs="+", choices=counts, default=[1, 3, 5, 10])
    options.add_argument("--compile", action="store_true", help="compile all but the loop")
    given: argparse.Namespace = options.parse_args()
    torch.set_num_threads(given.threads)
    keep_freed_memory()  # as in training
    device = torch.device(given.device)
    watch = Stopwatch(given.rounds, given.clock, device)
    names = "".join(f"{name:>18s}" for name in VARIANTS)
    print(f"elements  edges  {'':14s}{names}   (median; ratio to none)")
    results = {}
    for n_elements in given.elements:
        graph = alloy(n_elements).to(device)
        results[str(n_elements)] = found = measure(graph, watch, given.compile)
        report(n_elements, graph, found)
    settings = {"rounds": given.rounds, "clock": given.clock, "compile": given.compile}
    about = {**settings, "machine": machine(given.threads, device)}
    name = "relations_compiled" if given.compile else "relations"
    write(given.output, name, {**about, "elements": results})
    last = results[str(given.elements[-1])]["training step"]
    print(
        f"{given.elements[-1]} elements: one-pass/none {last['one-pass']['ratio']:.2f} "
        f"loop/none {last['loop']['ratio']:.2f}"
    )


if __name__ == "__main__":
    main()
