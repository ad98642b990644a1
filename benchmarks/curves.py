"""Whether speed costs accuracy: learning curves with plain operators, kernels, and compiled.

    python benchmarks/curves.py --epochs 10

The quickstart recipe is trained three times from the same weights, on the same batches.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
from measure import machine, parser, write

from hermnet.kernels.choice import plain_operators
from hermnet.recipes.config import resolve
from hermnet.run.commands import fit
from hermnet.run.plots import read_curves

FORMS = {  # plain operators only, compiled
    "operators of torch": (True, False),
    "kernels": (False, False),
    "kernels, compiled": (False, True),
}
ERRORS = {"val_forces_mae": "forces, meV/Å", "val_energy_per_atom_mae": "energy, meV/atom"}
_PICTURE = Path(__file__).parents[1] / "docs/results/curves.png"


def train(folder: Path, plain: bool, compiled: bool, epochs: int) -> dict[str, Any]:
    """Validation errors after each epoch, and the processor time of the run."""
    overrides = [
        f"trainer.max_epochs={epochs}",
        f"trainer.default_root_dir={folder}",
        f"training.compile={str(compiled).lower()}",
    ]
    start = time.process_time()
    with plain_operators(plain):
        run = fit(resolve("quickstart", overrides))
    curves = read_curves(run.folder.metrics())
    errors = {name: curves[name][:, 1].tolist() for name in ERRORS}
    return {**errors, "seconds": time.process_time() - start}


def draw(found: dict[str, dict[str, Any]], path: Path) -> None:
    """Both errors against the epoch, all forms in one picture."""
    figure, axes = plt.subplots(1, len(ERRORS), figsize=(8, 3.2), layout="constrained")
    styles = ("-", "--", ":")
    for axis, (name, label) in zip(axes, ERRORS.items(), strict=True):
        for (form, values), style in zip(found.items(), styles, strict=True):
            epochs = range(1, len(values[name]) + 1)
            axis.semilogy(epochs, values[name], style, label=form, linewidth=2)
        axis.set_xlabel("epoch")
        axis.set_ylabel(f"validation MAE, {label}")
    axes[0].legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    """Train, draw, save."""
    options = parser("Whether speed costs accuracy.")
    options.add_argument("--epochs", type=int, default=10, help="of each run (10)")
    options.add_argument("--picture", type=Path, default=_PICTURE, help="PNG (docs/results)")
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, (form, (plain, compiled)) in enumerate(FORMS.items()):
            place = Path(folder) / str(number)
            found[form] = train(place, plain, compiled, given.epochs)
    draw(found, given.picture)
    about = machine(given.threads, torch.device("cpu"))
    write(given.output, "curves", {"epochs": given.epochs, "forms": found, "machine": about})
    for form, values in found.items():
        forces, energy = (values[name][-1] for name in ERRORS)
        print(
            f"{form:20s} F {forces:.3f} meV/A  E {energy:.4f} meV/atom  {values['seconds']:.0f} s"
        )


if __name__ == "__main__":
    main()
