"""Accuracy of the relation schemes after equal training time.

Each scheme trains the same recipe for as many epochs as fit into the time given, so that the
learning rate of every run comes down to zero; the time of an epoch is measured first. The errors
are those of the test frames.

    python benchmarks/schemes.py --minutes 4
"""

from __future__ import annotations

import tempfile
import time
from typing import Any

import torch
from measure import machine, parser, write

from hermnet.recipes.config import resolve
from hermnet.run.commands import fit


def train(config: str, overrides: list[str], epochs: int, folder: str) -> dict[str, Any]:
    """Fit for a number of epochs; returns test errors, training seconds and parameters."""
    recipe = resolve(
        config,
        [*overrides, f"trainer.max_epochs={epochs}", f"trainer.default_root_dir={folder}"],
    )
    start = time.perf_counter()
    run = fit(recipe, overwrite=True)
    return {
        "epochs": epochs,
        "seconds": time.perf_counter() - start,
        "errors": run.results["test"].errors,
    }


def epochs_within(seconds: float, config: str, overrides: list[str], folder: str) -> int:
    """How many epochs fit into `seconds`, from the difference of a run of 3 and one of 1."""
    one, three = (train(config, overrides, n, folder)["seconds"] for n in (1, 3))
    return max(1, round(seconds / ((three - one) / 2)))


def main() -> None:
    """Train every scheme and print the table."""
    options = parser("Accuracy of the relation schemes after equal training time.")
    options.add_argument("--config", default="quickstart", help="recipe (quickstart)")
    options.add_argument("--schemes", nargs="+", default=["none", "vertex", "pair", "triadic"])
    options.add_argument("--minutes", type=float, default=4.0, help="for each scheme (4)")
    options.add_argument("--set", nargs="*", default=[], help="overrides of the recipe")
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        for scheme in arguments.schemes:
            overrides = [*arguments.set, f"model.relations={scheme}"]
            budget = 60.0 * arguments.minutes
            epochs = epochs_within(budget, arguments.config, overrides, folder)
            rows[scheme] = train(arguments.config, overrides, epochs, folder)
    about = {key: getattr(arguments, key) for key in ("config", "set", "minutes")}
    about["machine"] = machine(arguments.threads, torch.device("cpu"))
    write(arguments.output, "schemes", {**about, "schemes": rows})
    print_table(rows)


def print_table(rows: dict[str, dict[str, Any]]) -> None:
    """The results as Markdown."""
    print("| relations | epochs | seconds | E MAE, meV | F MAE, meV/A | F RMSE, meV/A |")
    print("|---|---|---|---|---|---|")
    for scheme, row in rows.items():
        errors = row["errors"]
        print(
            f"| `{scheme}` | {row['epochs']} | {row['seconds']:.0f} | {errors['energy_mae']:.1f} "
            f"| {errors['forces_mae']:.1f} | {errors['forces_rmse']:.1f} |"
        )


if __name__ == "__main__":
    main()
