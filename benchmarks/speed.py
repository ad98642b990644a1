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
from collections.abc import Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
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
# Of one element, so that relations make no difference; all at once would take more than 24 GB.
ENOUGH = {"4096-atom Si": ("none compiled", "none eager", "SchNetPack PaiNN")}
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
            try:
                counts = self._process.ask("count", task=task)
            except Refused:  # some compiled code cannot be run operator by operator
                counts = {"flops": 0, "bytes": 0}
            rounds = self.seconds[task]
            self.found[task] = {"seconds": median(rounds), "rounds": rounds, "memory": memory}
            self.found[task] |= {f"counted {name}": value for name, value in counts.items()}
        self.close()
        return self.found

    def close(self) -> None:
        """End the process."""
        self._process.close()


class Job:
    """A group of contenders on a structure.

    Args:
        group: name of the group.
        case: name of the structure.
        folder: where the structure is left for the contenders.
        given: what the command line says.
    """

    def __init__(self, group: str, case: str, folder: Path, given: Any) -> None:
        self.group, self.case, self._given = group, case, given
        graph = CASES[case]()
        self.sizes = {"atoms": graph.n_atoms, "edges": graph.n_edges}
        self._file = folder / f"{slug(case)}.npz"
        save(graph, self._file)
        known = [c for c in GROUPS[group] if c.name in ENOUGH.get(case, (c.name,))]
        self._chosen = [c for c in known if re.search(given.only or "", c.name)]
        self.rivals: list[Rival] = []
        self.found: dict[str, Any] = {}

    def start(self, pool: Executor) -> list[Future[Rival]]:
        """Begin to start all contenders."""
        given = self._given
        request = {"file": str(self._file), "threads": given.threads, "device": given.device}
        known = environments(given.peer)
        return [pool.submit(Rival, c, known, request, given.clock) for c in self._chosen]

    def collect(self, starting: list[Future[Rival]]) -> None:
        """Take all contenders, once they have started; those that do not are said so."""
        size = ", ".join(f"{n} {what}" for what, n in self.sizes.items())
        print(f"{self.group}, {self.case}: {size}", flush=True)
        for contender, future in zip(self._chosen, starting, strict=True):
            try:
                self.rivals.append(future.result())
                self.found[contender.name] = self.rivals[-1].found
            except Refused as reason:
                self._refuse(contender, reason)

    def measure(self) -> None:
        """Rounds of all contenders, until there are enough or the time is over."""
        for task in TASKS:
            end = time.perf_counter() + self._given.seconds
            for index in range(self._given.rounds):
                if index >= 3 and time.perf_counter() > end:
                    break
                first = index % max(1, len(self.rivals))
                for rival in self.rivals[first:] + self.rivals[:first]:
                    self._once(rival, task)

    def _once(self, rival: Rival, task: str) -> None:
        try:
            rival.once(task)
        except Refused as reason:
            self._refuse(rival.contender, reason)
            self.rivals.remove(rival)
            rival.close()

    def _finish(self, rival: Rival) -> None:
        try:
            rival.finish()
        except Refused as reason:  # memory may end while it is measured
            self._refuse(rival.contender, reason)
            rival.close()

    def _refuse(self, contender: Contender, reason: Refused) -> None:
        self.found[contender.name] = {"refused": str(reason)}
        print(f"  {contender.name}: {reason}", flush=True)

    def finish(self, pool: Executor, folder: Path) -> None:
        """Memory and counts, the ends of all processes, a table and a file."""
        given, device = self._given, torch.device(self._given.device)
        for _ in pool.map(self._finish, self.rivals):
            pass
        show(self.found)
        limits = ceilings(device, given.clock)
        about = {"rounds": given.rounds, "clock": given.clock, "case": self.case, **self.sizes}
        about |= {"machine": machine(given.threads, device), "group": self.group}
        content = {**about, "ceilings": limits, "contenders": self.found}
        write(folder / f"{slug(self.group)}_{slug(self.case)}.json", "speed", content)


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
    options.add_argument(
        "--cases", nargs="+", choices=list(CASES), help="of those of the groups (all)"
    )
    options.add_argument("--peer", nargs="+", default=[], metavar="NAME=PYTHON", help="(none)")
    options.add_argument("--only", help="regular expression that names of contenders match")
    options.add_argument("--seconds", type=float, default=60.0, help="of rounds of a task (60)")
    options.add_argument(
        "--at-once",
        type=int,
        help="how many contenders start at once, of all cases, which takes memory (one by one)",
    )
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    folder = given.output or Path(__file__).parent / "results" / "speed"
    pairs = [(g, c) for g in given.groups for c in CHOSEN[g] if c in (given.cases or CASES)]
    if not pairs:
        options.error(f"none of {given.cases} is a case of {given.groups}")
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(given.at_once or 1) as pool:
        jobs = (Job(group, case, Path(scratch), given) for group, case in pairs)
        started: Iterable[Any] = ((job, job.start(pool)) for job in jobs)
        if given.at_once:
            started = list(started)
            wait([future for _, starting in started for future in starting])
        for job, starting in started:
            job.collect(starting)
            job.measure()
            job.finish(pool, folder)


if __name__ == "__main__":
    main()
