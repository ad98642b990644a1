"""What fewer or more digits cost: errors of forces and time of a step.

    python benchmarks/precision.py --epochs 20

The quickstart recipe is trained in each precision. Then the potential trained in float32 predicts
the test frames in each, compared with its own predictions in float64.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from measure import machine, parser, write

from hermnet.checkpoints.checkpoint import load_potential
from hermnet.recipes.config import resolve
from hermnet.run.commands import fit
from hermnet.run.datasets import load_data
from hermnet.run.prediction import predict_batches
from hermnet.training.precision import matrix_products

_MILLI = 1000.0


@dataclass(frozen=True)
class Variant:
    """A way to compute: what it adds to the recipe, and the same for predictions."""

    overrides: tuple[str, ...] = ()
    dtype: str = "float32"
    products: str = "highest"
    autocast: bool = False

    @contextmanager
    def active(self) -> Iterator[None]:
        """Predict this way inside the `with` block."""
        cast = torch.autocast("cpu", torch.bfloat16, enabled=self.autocast)
        with matrix_products(self.products), cast:
            yield


VARIANTS = {
    "float64": Variant(("model.dtype=float64",), dtype="float64"),
    "float32": Variant(),
    "float32, products in bfloat16": Variant(
        ("training.matmul_precision=medium",), products="medium"
    ),
    "bf16-mixed": Variant(("trainer.precision=bf16-mixed",), autocast=True),
}


def train(folder: Path, name: str, variant: Variant, epochs: int) -> tuple[Path, dict[str, float]]:
    """The best checkpoint, with its errors on the test frames and the processor time of all."""
    recipe = resolve(
        "quickstart",
        [
            f"trainer.max_epochs={epochs}",
            f"trainer.default_root_dir={folder / name.replace(' ', '_').replace(',', '')}",
            *variant.overrides,
        ],
    )
    start = time.process_time()
    run = fit(recipe)
    seconds = time.process_time() - start
    errors = run.results["test"].errors
    chosen = {key: errors[key] for key in ("energy_mae", "forces_mae", "forces_rmse")}
    return run.folder.best, {**chosen, "seconds": seconds}


def deviation(checkpoint: Path, variant: Variant) -> float:
    """Root mean square deviation of forces on the test frames from those in float64, meV/A."""
    exact = load_potential(checkpoint, dtype="float64")
    other = load_potential(checkpoint, dtype=variant.dtype)
    data = load_data(resolve("quickstart", ["data.batch_size=50"]))
    loader = data.eval_dataloader("test")
    with variant.active():
        found = [p.forces for _, p in predict_batches(other, loader) if p.forces is not None]
    right = [p.forces for _, p in predict_batches(exact, loader) if p.forces is not None]
    difference = torch.cat(found).double() - torch.cat(right)
    return _MILLI * float(difference.square().mean().sqrt())


def main() -> None:
    """Train all, compare, and print the table."""
    options = parser("What fewer or more digits cost.")
    options.add_argument("--epochs", type=int, default=20, help="of each run (20)")
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    rows: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        trained = {}
        for key, variant in VARIANTS.items():
            trained[key], rows[key] = train(Path(name), key, variant, arguments.epochs)
        for key, variant in VARIANTS.items():
            rows[key]["deviation"] = deviation(trained["float32"], variant)
    about = machine(arguments.threads, torch.device("cpu"))
    content = {"epochs": arguments.epochs, "rows": rows, "machine": about}
    write(arguments.output, "precision", content)
    print(
        "| precision | prediction off by, meV/A | E MAE, meV | F MAE, meV/A | processor time, s |"
    )
    print("|---|---|---|---|---|")
    for key, row in rows.items():
        print(
            f"| {key} | {row['deviation']:.2g} | {row['energy_mae']:.2f} "
            f"| {row['forces_mae']:.1f} | {row['seconds']:.0f} |"
        )


if __name__ == "__main__":
    main()
