"""What a second core brings: the same calls with one thread and with more, in turn.

python benchmarks/threads.py --many 2     # on a machine that has as many free cores
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import torch
from contenders import GROUPS, environments
from measure import machine, median_ratio, parser, write
from speed import Rival, slug
from systems import CASES, save

TASKS = ("training step", "energy+forces")
WHO = ("none compiled", "none eager", "SchNetPack PaiNN")


def measure(file: Path, given: Any) -> dict[str, Any]:
    """Medians with one and with many threads, and the ratio within a round, of each contender."""
    known = environments(given.peer)
    found: dict[str, Any] = {}
    for contender in GROUPS["painn"]:
        if contender.name not in WHO or contender.package not in known:
            continue
        request = {"file": str(file), "device": "cpu"}
        one, many = (
            Rival(contender, known, {**request, "threads": n}, "wall") for n in (1, given.many)
        )
        for task in TASKS:
            for index in range(given.rounds):
                for rival in (one, many) if index % 2 else (many, one):
                    rival.once(task)
            times = (one.seconds[task], many.seconds[task])
            row = {"one": median(times[0]), "many": median(times[1]), "gain": median_ratio(*times)}
            found.setdefault(contender.name, {})[task] = row
            told = f"{1e3 * row['one']:9.1f} ms  {1e3 * row['many']:9.1f} ms  x{row['gain']:.2f}"
            print(f"  {contender.name:20s} {task:14s} {told}", flush=True)
        for rival in (one, many):
            rival.close()
    return found


def main() -> None:
    """Run, print, save."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--many", type=int, default=2, help="threads to compare with one (2)")
    options.add_argument("--cases", nargs="+", default=["512-atom Si", "4096-atom Si"])
    options.add_argument("--peer", nargs="+", default=[], metavar="NAME=PYTHON", help="(none)")
    given = options.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as scratch:
        for case in given.cases:
            file = Path(scratch) / f"{slug(case)}.npz"
            save(CASES[case](), file)
            print(case, flush=True)
            results[case] = measure(file, given)
    about = {"many": given.many, "rounds": given.rounds}
    about["machine"] = machine(given.many, torch.device("cpu"))
    write(given.output, "threads", {**about, "cases": results})


if __name__ == "__main__":
    main()
