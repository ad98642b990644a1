"""Accuracy of the relation schemes after equal training time.

Each scheme trains the same recipe for as many epochs as fit into the time given, so that the
learning rate of every run comes down to zero; the time of a step is measured first. The errors
are those of the test frames. `hermnet ablate --equal time` does the same, with a report.

    python benchmarks/schemes.py --minutes 4
"""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from measure import machine, parser, write

from hermnet.ablation.running import ablate

ERRORS = ("energy_mae", "forces_mae", "forces_rmse")


def main() -> None:
    """Train every scheme and print the table."""
    options = parser("Accuracy of the relation schemes after equal training time.")
    options.add_argument("--config", default="quickstart", help="recipe (quickstart)")
    options.add_argument("--schemes", nargs="+", default=["none", "vertex", "pair", "triadic"])
    options.add_argument("--minutes", type=float, default=4.0, help="for each scheme (4)")
    options.add_argument("--set", nargs="*", default=[], help="overrides of the recipe")
    arguments = options.parse_args()
    grid = {"model.relations": arguments.schemes, "minutes": arguments.minutes}
    overrides = [*arguments.set, f"training.threads={arguments.threads}"]
    with tempfile.TemporaryDirectory() as folder:
        runs = ablate(
            arguments.config, grid, equal="time", overrides=overrides, output=folder, jobs=1
        )
    rows = {
        row["model.relations"]: {
            "epochs": row["epochs"],
            "seconds": row["training_seconds"],
            "errors": {name: row[f"test_{name}"] for name in ERRORS},
        }
        for row in runs.to_dict("records")
    }
    about = {key: getattr(arguments, key) for key in ("config", "set", "minutes")}
    about["machine"] = machine(arguments.threads, torch.device("cpu"))
    write(arguments.output, "schemes", {**about, "schemes": rows})
    print_table(rows)


def print_table(rows: dict[str, dict[str, Any]]) -> None:
    """The results as Markdown."""
    print("| relations | epochs | seconds | E MAE, meV | F MAE, meV/A | F RMSE, meV/A |")
    print("|---|---|---|---|---|---|")
    for scheme, row in rows.items():
        shown = " | ".join(f"{row['errors'][name]:.1f}" for name in ERRORS)
        print(f"| `{scheme}` | {row['epochs']} | {row['seconds']:.0f} | {shown} |")


if __name__ == "__main__":
    main()
