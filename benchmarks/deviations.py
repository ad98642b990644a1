"""How far training in several processes is from training in one, for every network.

The cases are those of the tests: twenty steps of AdamW in float64 on molecules of several sizes and
elements, four at a step; some frames lack forces, most lack an element, and the last step of an
epoch has three frames, so that one of four processes has none.

    python benchmarks/deviations.py
"""

from __future__ import annotations

import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

import torch
from measure import machine, parser, write

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import ddp
import training

SUBNETS = ("painn", "schnet", "nequip", "rmconv")
RELATIONS = ("none", "vertex", "pair", "triadic")
SHARING = ("independent", "basis:2", "shared")


def deviations(n_processes: int, cases: list[dict[str, Any]]) -> list[dict[str, float]]:
    """Of each case the largest deviation of gradients, weights and errors, of all processes."""
    expected = training.fit_all(cases)
    with tempfile.TemporaryDirectory() as folder:
        found = ddp.each(n_processes, "training:fit_all", Path(folder), cases, timeout=3600.0)
    return [
        {
            what: max(training.deviation(process[index], one)[what] for process in found)
            for what in ("gradients", "weights", "errors")
        }
        for index, one in enumerate(expected)
    ]


def main() -> None:
    """Train every network in 1, 2 and 4 processes and print the table."""
    options = parser("How far training in several processes is from training in one.")
    options.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    names = list(product(SUBNETS, RELATIONS, SHARING))
    cases = [
        {"model": {"subnet": subnet, "relations": relations, "sharing": sharing}}
        for subnet, relations, sharing in names
    ]
    found = {n: deviations(n, cases) for n in arguments.processes}
    about = machine(arguments.threads, torch.device("cpu"))
    rows = [
        {
            **dict(zip(("subnet", "relations", "sharing"), name, strict=True)),
            "processes": {str(n): found[n][index] for n in arguments.processes},
        }
        for index, name in enumerate(names)
    ]
    write(arguments.output, "deviations", {"machine": about, "networks": rows})
    print_table(rows, arguments.processes)


def print_table(rows: list[dict[str, Any]], processes: list[int]) -> None:
    """The largest deviation over all ways of sharing, as Markdown."""
    print("| sub-network | relations | " + " | ".join(f"{n} processes" for n in processes) + " |")
    print("|---" * (2 + len(processes)) + "|")
    for subnet, relations in product(SUBNETS, RELATIONS):
        own = [r for r in rows if (r["subnet"], r["relations"]) == (subnet, relations)]
        worst = [max(max(r["processes"][str(n)].values()) for r in own) for n in processes]
        cells = " | ".join(f"{value:.1e}" for value in worst)
        print(f"| `{subnet}` | `{relations}` | {cells} |")


if __name__ == "__main__":
    main()
