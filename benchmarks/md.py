"""Steps of molecular dynamics in a second against the number of atoms, through ASE.

Silicon at 300 K, NVE, each package with its own ASE calculator and neighbor list, with models of
like size whose weights are random. Contenders live in processes of their own and take turns; one
whose step takes longer than ``--limit`` seconds is left out of the sizes that follow.

    python benchmarks/md.py --peer schnetpack=/envs/spk/bin/python mace=/envs/mace/bin/python
    HERMNET_PEERS=/envs python benchmarks/md.py --atoms 64 512 4096 --page
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from contenders import Contender, Process, Refused, environments, ours
from md_page import NUMBERS, write_page
from measure import machine, parser, write
from systems import save, silicon

SERVER = Path(__file__).parent / "peers" / "simulate.py"
ATOMS = (64, 216, 512, 1728, 4096, 8000, 13824, 32768)
_SIZE = {"cutoff": 5.0, "n_layers": 3, "n_radial": 20}
_NEQUIP = {"n_channels": 32, "lmax": 1, "radial_hidden": 64, "radial_layers": 2}
_ROUND = 1.0  # seconds that a round of one contender takes at least
_LEAST = 3  # rounds, however long they take


def contenders() -> list[Contender]:
    """Ours first: ratios are to it."""
    small = {"name": "nequip", "radial_hidden": 64, "radial_layers": 2}
    return [
        ours("hermnet painn compiled", "painn", "none", "compiled", n_channels=64),
        ours("hermnet painn exported", "painn", "none", "exported", n_channels=64),
        ours("hermnet painn eager", "painn", "none", "eager", n_channels=64),
        ours("hermnet nequip compiled", small, "none", "compiled", n_channels=32, lmax=1),
        Contender("SchNetPack PaiNN", "schnetpack", {**_SIZE, "kind": "PaiNN", "n_channels": 64}),
        Contender("NequIP", "nequip", {**_SIZE, **_NEQUIP}),
        Contender("MACE", "mace", {**_SIZE, "n_layers": 2, "irreps": "64x0e+64x1o"}),
    ]


class Rival:
    """A contender that simulates.

    Raises:
        Refused: if it does not start.
    """

    def __init__(self, contender: Contender, known: dict[str, str], request: dict) -> None:
        self.name = contender.name
        if contender.package not in known:
            raise Refused("no environment given")
        self._process = Process(contender.package, known[contender.package], SERVER)
        try:
            self._process.ask("load", model=dict(contender.model), **request)
        except Refused:
            self._process.close()
            raise

    def start(self, repeats: int, clock: str) -> float:
        """Begin with a crystal; returns seconds of a step."""
        self._process.ask("start", repeats=repeats)
        return self.seconds(1, clock)

    def seconds(self, times: int, clock: str) -> float:
        """Of a step, the mean of so many."""
        return float(self._process.ask("step", times=times)[clock]) / times

    def close(self) -> None:
        """End it."""
        self._process.close()


def measure(rivals: list[Rival], n_atoms: int, options: Any) -> dict[str, Any]:
    """Rounds of all rivals on a crystal of so many atoms."""
    running, found = [], {}
    repeats = round((n_atoms / 8) ** (1 / 3))
    for rival in list(rivals):
        try:
            first = rival.start(repeats, options.clock)
            running.append((rival, max(1, min(20, round(_ROUND / max(first, 1e-6))))))
            found[rival.name] = {"seconds": []}
        except Refused as reason:  # out of memory ends its process
            found[rival.name] = {"refused": str(reason)}
            drop(rivals, rival, str(reason))
    end = time.perf_counter() + options.seconds
    for index in range(options.rounds):
        if index >= _LEAST and time.perf_counter() > end:
            break
        first = index % max(1, len(running))
        for rival, times in running[first:] + running[:first]:
            found[rival.name]["seconds"].append(rival.seconds(times, options.clock))
    for rival, _ in running:
        slowest = median(found[rival.name]["seconds"])
        if slowest > options.limit:
            drop(rivals, rival, f"left out from here on, for a step takes {slowest:.3g} s")
    return found


def drop(rivals: list[Rival], rival: Rival, reason: str) -> None:
    """End one that is not asked again."""
    rivals.remove(rival)
    rival.close()
    print(f"  {rival.name}: {reason}", flush=True)


def show(found: dict[str, Any], n_atoms: int) -> None:
    """A line for each contender, with the ratio of its steps per second to those of the first."""
    ran = {name: one["seconds"] for name, one in found.items() if one.get("seconds")}
    reference = next(iter(ran.values()), [])
    for name, seconds in ran.items():
        ratio = median(a / b for a, b in zip(reference, seconds, strict=True))
        print(f"  {n_atoms:6d} {name:26s} {1 / median(seconds):9.2f} steps/s  x{ratio:.2f}")


def options() -> argparse.Namespace:
    """What the command line says."""
    found = parser(__doc__.splitlines()[0])
    found.add_argument("--atoms", nargs="+", type=int, default=list(ATOMS))
    found.add_argument("--peer", nargs="+", default=[], metavar="NAME=PYTHON", help="(none)")
    found.add_argument("--only", default="", help="regular expression that names match")
    found.add_argument("--seconds", type=float, default=60.0, help="of rounds of a size (60)")
    found.add_argument("--limit", type=float, default=20.0, help="seconds of a step (20)")
    found.add_argument("--memory", type=float, help="GB of a contender's address space (all)")
    found.add_argument("--page", action="store_true", help="write docs/results/md.md too")
    return found.parse_args()


def main() -> None:
    """Run, print, save."""
    given = options()
    known = environments(given.peer)
    rivals, refused = [], {}
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "cell.npz"
        save(silicon(1), file)
        request = {"file": str(file), "threads": given.threads, "device": given.device}
        request["gigabytes"] = given.memory
        for contender in (c for c in contenders() if re.search(given.only, c.name)):
            try:
                rivals.append(Rival(contender, known, request))
            except Refused as reason:
                refused[contender.name] = str(reason)
                print(f"{contender.name}: {reason}", flush=True)
        about = {"clock": given.clock, "limit_s": given.limit, "memory_GB": given.memory}
        about |= {"rounds": given.rounds, "seconds": given.seconds, "refused": refused}
        about["machine"] = machine(given.threads, torch.device(given.device))
        found: dict[str, Any] = {}
        for n_atoms in given.atoms:
            if rivals:
                found[str(n_atoms)] = measure(rivals, n_atoms, given)
                show(found[str(n_atoms)], n_atoms)
                write(given.output, "md", {**about, "atoms": found})
        for rival in rivals:
            rival.close()
    if given.page:
        print(f"written: {write_page(given.output or NUMBERS)}")


if __name__ == "__main__":
    main()
