"""How fast and how large, against other packages on the same work.

Training steps (energies and forces, double backward, optimizer) and energies with forces, of the
same structures with the same neighbor lists, at the same width, depth, cutoff and radial size.
Contenders live in processes of their own and take turns, so that whatever else the machine does
meets all of them; ratios are taken within a round.

    HERMNET_PEERS=/envs python benchmarks/speed.py     # a folder of environments by package
    python benchmarks/speed.py --peer schnetpack=/envs/spk/bin/python --groups painn

A package without environment, or one that does not start, is reported as such.
"""

from __future__ import annotations

import re
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from contenders import GROUPS, Contender, Process, Refused, environments
from measure import ceilings, machine, parser, write
from systems import CASES, save

TASKS = ("training step", "energy+forces")
CHOSEN = {
    "painn": list(CASES),
    "wide": ["10 ethanols", "216-atom alloy", "512-atom Si"],
    "nequip": ["10 ethanols", "10 aspirins", "mixed molecules", "216-atom alloy"],
    "others": ["10 ethanols", "216-atom alloy", "512-atom Si"],
    "triadic": ["216-atom alloy, 10 elements"],
    "89 elements": ["216-atom alloy, 10 elements"],
}
_SHORT = 0.05  # seconds; what takes less is called several times a round
_WARM_UP = {"cpu": 2, "cuda": 6}  # calls; on a GPU the first few compile and are recorded


class Rival:
    """A contender that runs.

    Args:
        contender: who.
        environments: the interpreter of each package.
        request: what is loaded: file, threads and device.
        clock: ``wall`` or ``process``.
    """

    def __init__(
        self, contender: Contender, environments: dict[str, str], request: dict, clock: str
    ) -> None:
        self.contender, self._clock = contender, clock
        self._warm_up = _WARM_UP[request.get("device", "cpu").partition(":")[0]]
        if contender.package not in environments:
            raise Refused("no environment given")
        self._process = Process(contender.package, environments[contender.package])
        start = time.perf_counter()
        try:
            self.found: dict[str, Any] = self._process.ask(
                "load", model=dict(contender.model), **request
            )
            self.times = {task: self._warm(task) for task in TASKS}
        except Refused:
            self._process.close()
            raise
        self.found["seconds before timing"] = time.perf_counter() - start
        self.seconds: dict[str, list[float]] = {task: [] for task in TASKS}

    def _warm(self, task: str) -> int:
        for _ in range(self._warm_up):
            seconds = self._process.ask("run", task=task, times=1)[self._clock][0]
        return max(1, min(20, round(_SHORT / max(seconds, 1e-6))))

    def once(self, task: str) -> None:
        """One round of a task."""
        times = self._process.ask("run", task=task, times=self.times[task])[self._clock]
        self.seconds[task].append(median(times))

    def finish(self) -> dict[str, Any]:
        """What was found, memory and counts included; ends the process."""
        for task in TASKS:
            memory = self._process.ask("memory", task=task)["bytes"]
            counts = self._process.ask("count", task=task)
            rounds = self.seconds[task]
            self.found[task] = {"seconds": median(rounds), "rounds": rounds, "memory": memory}
            self.found[task] |= {f"counted {name}": value for name, value in counts.items()}
        self.close()
        return self.found

    def close(self) -> None:
        """End the process."""
        self._process.close()


def measure(
    group: list[Contender], environments: dict[str, str], request: dict, options: Any
) -> dict[str, Any]:
    """Rounds of all contenders that start, until there are enough or the time is over."""
    rivals, found = [], {}
    for contender in group:
        try:
            rivals.append(Rival(contender, environments, request, options.clock))
            found[contender.name] = rivals[-1].found
        except Refused as reason:
            found[contender.name] = {"refused": str(reason)}
            print(f"  {contender.name}: {reason}", flush=True)
    for task in TASKS:
        end = time.perf_counter() + options.seconds
        for index in range(options.rounds):
            if index >= 3 and time.perf_counter() > end:
                break
            first = index % max(1, len(rivals))
            for rival in rivals[first:] + rivals[:first]:
                rival.once(task)
    for rival in rivals:
        rival.finish()
    return found


def show(found: dict[str, Any]) -> None:
    """Print a line for each contender; ratios are to the first one that ran."""
    ran = {name: row for name, row in found.items() if "refused" not in row}
    reference = next(iter(ran.values()), {})
    for name, row in ran.items():
        cells = []
        for task in TASKS:
            ratio = within(row[task]["rounds"], reference[task]["rounds"])
            megabytes = row[task]["memory"] / 1e6
            cells.append(f"{1e3 * row[task]['seconds']:9.1f} ms x{ratio:6.2f} {megabytes:7.0f} MB")
        print(f"  {name:28s}" + "".join(cells), flush=True)


def within(times: list[float], others: list[float]) -> float:
    """The median over rounds of the ratio within a round."""
    return median(a / b for a, b in zip(times, others, strict=True))


def slug(text: str) -> str:
    """A name as a file name."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower())


def main() -> None:
    """Run, print, save one file for each group and case."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--groups", nargs="+", choices=list(GROUPS), default=list(GROUPS))
    options.add_argument("--cases", nargs="+", choices=list(CASES), help="(those of the group)")
    options.add_argument("--peer", nargs="+", default=[], metavar="NAME=PYTHON", help="(none)")
    options.add_argument("--only", help="regular expression that names of contenders match")
    options.add_argument("--seconds", type=float, default=60.0, help="of rounds of a task (60)")
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    known, device = environments(given.peer), torch.device(given.device)
    about = {"rounds": given.rounds, "clock": given.clock}
    about["machine"] = machine(given.threads, device)
    folder = given.output or Path(__file__).parent / "results" / "speed"
    with tempfile.TemporaryDirectory() as scratch:
        for group in given.groups:
            for case in given.cases or CHOSEN[group]:
                graph = CASES[case]()
                file = Path(scratch) / f"{slug(case)}.npz"
                save(graph, file)
                print(f"{group}, {case}: {graph.n_atoms} atoms, {graph.n_edges} edges", flush=True)
                chosen = [c for c in GROUPS[group] if re.search(given.only or "", c.name)]
                request = {"file": str(file), "threads": given.threads, "device": given.device}
                limits = ceilings(device, given.clock)
                found = measure(chosen, known, request, given)
                show(found)
                sizes = {"atoms": graph.n_atoms, "edges": graph.n_edges, "group": group}
                content = {**about, "case": case, **sizes, "ceilings": limits, "contenders": found}
                write(folder / f"{slug(group)}_{slug(case)}.json", "speed", content)


if __name__ == "__main__":
    main()
