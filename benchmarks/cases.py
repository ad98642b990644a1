"""Every published set that HermNet is tried on: time to load, test errors after equal training.

Each case of ``cases.yaml`` is a shipped recipe and what points it at its files. It trains for as
many steps as fit into the time given, so that the learning rate comes down to zero; the time of a
step is measured first.

    python benchmarks/cases.py --root data --minutes 5
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any

import torch
import yaml
from measure import machine, parser, write
from torch.optim import Optimizer

from hermnet.datamodule import GraphDataModule
from hermnet.elements import symbol
from hermnet.recipes.class_path import build
from hermnet.recipes.config import Recipe, resolve
from hermnet.run.commands import fit
from hermnet.run.datasets import load_data
from hermnet.run.workflows import workflow_of

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "cases"
WARM_UP, TIMED = 3, 20  # steps before anything counts, and those that do
N_VALIDATIONS = 5
LATEST = 1.5  # times the minutes given, where the machine became slower than it was at first
ENERGY_UNITS = {
    "energy": "meV",
    "energy_per_atom": "meV/atom",
    "forces": "meV/A",
    "stress": "meV/A^3",
}


@dataclass(frozen=True)
class Case:
    """A set and what trains on it.

    Attributes:
        name: of the case and of its file of results.
        config: a shipped recipe.
        overrides: of that recipe.
    """

    name: str
    config: str
    overrides: tuple[str, ...]


def cases(root: str) -> Iterator[Case]:
    """All cases of ``cases.yaml``, whose files lie in `root`."""
    for entry in yaml.safe_load((HERE / "cases.yaml").read_text(encoding="utf-8")):
        for value in entry.get("values", [""]):
            overrides = (text.format(value, root=root) for text in entry.get("set", []))
            config = entry["config"].format(value)
            yield Case(entry["case"].format(value), config, tuple(overrides))


def seconds_per_step(recipe: Recipe, data: GraphDataModule) -> float:
    """Of a training step, with the time that it takes to get a batch."""
    workflow = workflow_of(recipe.model)
    model = workflow.new(recipe, data)
    objective = workflow.objective(model, recipe.training, data)
    optimizer = build(recipe.training.optimizer, Optimizer, model.parameters())
    batches = chain.from_iterable(data.train_dataloader() for _ in repeat(None))
    start = 0.0
    for index, graph in enumerate(islice(batches, WARM_UP + TIMED)):
        if index == WARM_UP:
            start = time.perf_counter()
        terms = objective.terms(objective.predict(graph), graph)
        weights = objective.weights()
        losses = [weights[name] * term.total / term.count for name, term in terms.items()]
        optimizer.zero_grad()
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]  # of torch
        optimizer.step()
    return (time.perf_counter() - start) / TIMED


def run(case: Case, minutes: float, threads: int) -> dict[str, Any]:
    """Load, train and test a case; returns what is written of it."""
    common = [*case.overrides, f"name={case.name}", f"training.threads={threads}"]
    recipe = resolve(case.config, common)
    start = time.perf_counter()
    data = load_data(recipe)
    loading = time.perf_counter() - start
    step = seconds_per_step(recipe, data)
    n_steps = max(N_VALIDATIONS, round(60 * minutes / step))
    with tempfile.TemporaryDirectory() as folder:
        schedule = [
            "trainer.max_epochs=-1",
            f"trainer.max_steps={n_steps}",
            f"trainer.max_time={{seconds: {round(60 * LATEST * minutes)}}}",
            "trainer.check_val_every_n_epoch=null",
            f"trainer.val_check_interval={n_steps // N_VALIDATIONS}",
            "training.scheduler_interval=step",
            f"training.scheduler.T_max={n_steps}",
            f"trainer.default_root_dir={folder}",
        ]
        finished = fit(resolve(case.config, [*common, *schedule]))
        last = finished.folder.usable_checkpoint()
        seconds = last.stat().st_mtime - finished.folder.recipe.stat().st_mtime
    splits = [split for split in data.splits() if split != "predict"]
    units = next(iter(finished.results.values())).units
    return {
        "config": case.config,
        "frames": {split: len(data.graphs(split)) for split in splits},
        "elements": [symbol(number) for number in data.facts("train").elements],
        "seconds_to_load": loading,
        "steps": n_steps,
        "seconds_of_training": seconds,
        "units": {**ENERGY_UNITS, **units},
        "errors": {split: result.errors for split, result in finished.results.items()},
    }


def table(folder: Path) -> str:
    """All results in a folder as Markdown."""
    lines = [
        "| case | frames | elements | load, s | training, s | test MAE |",
        "|---|---|---|---|---|---|",
    ]
    for path in sorted(folder.glob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        elements = found["elements"]
        shown = " ".join(elements) if len(elements) < 7 else str(len(elements))
        frames = " + ".join(str(n) for n in found["frames"].values())
        lines.append(
            f"| {path.stem} | {frames} | {shown} | {found['seconds_to_load']:.1f} "
            f"| {found['seconds_of_training']:.0f} | {'; '.join(maes(found))} |"
        )
    return "\n".join(lines)


def maes(found: dict[str, Any]) -> Iterator[str]:
    """The mean absolute errors of each test set, or of the validation frames if there is none."""
    tests = set(found["errors"]) - {"train", "val"} or {"val"}
    for split in sorted(tests):
        errors = found["errors"][split]
        shown = [
            f"{target} {errors[target + '_mae']:.3g} {unit}"
            for target, unit in found["units"].items()
            if target + "_mae" in errors
        ]
        yield (f"{split}: " if len(tests) > 1 or split == "val" else "") + ", ".join(shown)


def main() -> None:
    """Run the cases that have no result yet and print the table of all."""
    options = parser(__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("--root", required=True, help="folder of the data sets")
    options.add_argument("--minutes", type=float, default=5.0, help="of training each (5)")
    options.add_argument("--only", nargs="*", help="names of cases; all if not given")
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    folder = arguments.output or RESULTS
    for case in cases(arguments.root):
        path = folder / f"{case.name}.json"
        if path.is_file() or (arguments.only is not None and case.name not in arguments.only):
            continue
        found = run(case, arguments.minutes, arguments.threads)
        write(
            path, case.name, {**found, "machine": machine(arguments.threads, torch.device("cpu"))}
        )
    print(table(folder))


if __name__ == "__main__":
    main()
