"""What a fine-tuned model remembers: malonaldehyde learned by a potential of ethanol.

    python benchmarks/finetuning.py --root rmd17

A potential is trained on ethanol. Then malonaldehyde is learned from 200 frames: from nothing, from
that potential, with ethanol replayed beside it, and as a low-rank change.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
import yaml
from measure import machine, parser, write

from hermnet.checkpoints.checkpoint import load_potential
from hermnet.datamodule import DATAMODULES
from hermnet.recipes.config import resolve
from hermnet.run.commands import fit
from hermnet.run.evaluation import evaluate_split

OLD, NEW = "ethanol", "malonaldehyde"


def variants(root: str, start: Path) -> dict[str, dict[str, Any]]:
    """Data and model sections of each way to learn the new molecule."""
    new = {"name": "rmd17", "root": root, "molecule": NEW, "n_train": 200, "n_val": 50}
    old = {**new, "molecule": OLD, "n_train": 950, "weight": 0.2}
    going_on = {"init_from": str(start)}
    return {
        "from nothing": {"data": new, "model": {}},
        "fine-tuned": {"data": new, "model": going_on},
        "with replay": {"data": {"name": "mix", "sets": [new, old]}, "model": going_on},
        "low rank 8": {"data": new, "model": {**going_on, "low_rank": 8}},
    }


def errors(checkpoint: Path, root: str) -> dict[str, float]:
    """Force MAE on the test frames of both molecules, meV/A."""
    potential = load_potential(checkpoint)
    found = {}
    for molecule in (OLD, NEW):
        data = DATAMODULES.get("rmd17")(root=root, molecule=molecule)  # type: ignore[call-arg]  # its own
        data.set_cutoff(potential.cutoff)
        found[molecule] = evaluate_split(potential, data.eval_dataloader("test")).errors[
            "forces_mae"
        ]
    return found


def train(folder: Path, name: str, sections: dict[str, Any], epochs: int) -> Path:
    """The best checkpoint of a run."""
    data = {**sections["data"], "batch_size": 5}
    # no base here: its options would contradict those of the checkpoint
    base = {} if "init_from" in sections["model"] else {"base": "quickstart"}
    training = resolve("quickstart").to_dict()["training"]
    training["scheduler"]["T_max"] = epochs
    recipe = {**base, "data": data, "model": sections["model"], "training": training}
    recipe["trainer"] = {"max_epochs": epochs, "default_root_dir": str(folder / name)}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return fit(resolve(str(path))).folder.best


def main() -> None:
    """Train all and print the table."""
    options = parser("What a fine-tuned model remembers.")
    options.add_argument("--root", required=True, help="folder of the rMD17 files")
    options.add_argument("--epochs", type=int, default=30, help="of each run (30)")
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        old = {"name": "rmd17", "root": arguments.root, "molecule": OLD}
        start = train(folder, "start", {"data": old, "model": {}}, arguments.epochs)
        rows[f"start: {OLD} only"] = errors(start, arguments.root)
        for variant, sections in variants(arguments.root, start).items():
            best = train(folder, variant, sections, arguments.epochs)
            rows[variant] = errors(best, arguments.root)
    about = machine(arguments.threads, torch.device("cpu"))
    write(
        arguments.output, "finetuning", {"epochs": arguments.epochs, "rows": rows, "machine": about}
    )
    print(f"| | F MAE of {OLD}, meV/A | of {NEW} |\n|---|---|---|")
    for variant, row in rows.items():
        print(f"| {variant} | {row[OLD]:.1f} | {row[NEW]:.1f} |")


if __name__ == "__main__":
    main()
