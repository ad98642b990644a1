"""What compiling gains: training step and energies with forces of ten ethanols, eager and compiled.

Run ``python benchmarks/compiled.py --subnet painn``; benchmarks/README.md says what it prints.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
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
from systems import ethanols

from hermnet.compiled import CompiledEvaluator
from hermnet.graph import AtomicGraph, collate
from hermnet.model_options import ModelOptions
from hermnet.potential import Potential
from hermnet.statistics import Statistics

FORMS = ("eager", "compiled")


def make_potential(options: ModelOptions, frames: list[AtomicGraph], form: str) -> Potential:
    """The same initial weights for every form."""
    torch.manual_seed(0)
    facts = Statistics.from_graphs(frames, "fit")
    potential = Potential(options, facts.elements, facts.mean_neighbors)
    potential.set_reference(facts.reference, facts.scale)
    if form == "compiled":
        potential.evaluate = CompiledEvaluator()
    return potential.to(frames[0].positions.device)


def train(step: Callable[[], torch.Tensor], n_steps: int) -> list[float]:
    """The loss before each of some steps."""
    return [float(step()) for _ in range(n_steps)]


def measure(
    options: ModelOptions, frames: list[AtomicGraph], watch: Stopwatch, n_steps: int
) -> dict[str, Any]:
    """Seconds to compile, medians, ratios, and losses of both forms."""
    graph = collate(frames)
    steps, predictions, losses, first = {}, {}, {}, {}
    for form in FORMS:
        potential = make_potential(options, frames, form)
        optimizer = adamw(potential)
        steps[form] = training_step(potential, graph, optimizer)
        predictions[form] = inference(potential, graph)
        start = time.perf_counter()
        losses[form] = train(steps[form], n_steps)
        predictions[form]()
        first[form] = time.perf_counter() - start
    found: dict[str, Any] = {"losses": losses, "seconds before timing": first}
    for task, actions in {"training step": steps, "energy+forces": predictions}.items():
        times = watch.alternate(actions)
        found[task] = {form: median(values) for form, values in times.items()}
        found[task]["eager/compiled"] = median_ratio(times["eager"], times["compiled"])
    return found


def worst_difference(losses: dict[str, list[float]]) -> float:
    """The largest relative difference between the losses of both forms at the same step."""
    pairs = zip(losses["eager"], losses["compiled"], strict=True)
    return max(abs(a - b) / abs(a) for a, b in pairs)


def main() -> None:
    """Run, print, save."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--subnet", default="painn", help="hermnet list subnets (painn)")
    options.add_argument("--relations", default="vertex", help="hermnet list relations (vertex)")
    options.add_argument("--steps", type=int, default=20, help="steps whose losses to compare (20)")
    given: argparse.Namespace = options.parse_args()
    torch.set_num_threads(given.threads)
    warnings.filterwarnings("error", message="compilation failed")  # else it would time eager twice
    device = torch.device(given.device)
    frames = [graph.to(device) for graph in ethanols()]
    model = ModelOptions(subnet=given.subnet, relations=given.relations)
    watch = Stopwatch(given.rounds, given.clock, device)
    found = measure(model, frames, watch, given.steps)
    difference = worst_difference(found["losses"])
    n_edges = sum(graph.n_edges for graph in frames)
    print(f"{len(frames)} ethanols, {n_edges} edges, {given.subnet}, {given.relations}")
    for task in ("training step", "energy+forces"):
        eager, compiled = (1e3 * found[task][form] for form in FORMS)
        ratio = found[task]["eager/compiled"]
        print(f"{task:14s} eager {eager:8.1f} ms   compiled {compiled:8.1f} ms   x{ratio:.2f}")
    compiling = found["seconds before timing"]
    print(f"compiling took {compiling['compiled'] - compiling['eager']:.0f} s")
    print(f"losses of {given.steps} steps: largest relative difference {difference:.1e}")
    names = ("subnet", "relations", "rounds", "clock")
    settings = {name: getattr(given, name) for name in names}
    about = {**settings, "machine": machine(given.threads, device)}
    write(given.output, f"compiled_{given.subnet}", {**about, **found})


if __name__ == "__main__":
    main()
