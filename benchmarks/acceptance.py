"""Physics acceptance: what trained potentials say of molecules, crystals and water.

Everything is done with the commands of hermnet, in a work folder; what is there is not done again,
so a run that was stopped goes on. Each part leaves its numbers and pictures in
``docs/results/acceptance/``, and the page beside it is made of them.

    python benchmarks/acceptance.py --data data --folder acceptance --parts train nve --page
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from acceptance_crystals import SILICON, crystals, kink
from acceptance_dynamics import cutoff, nve
from acceptance_page import page
from acceptance_water import water
from acceptance_work import Work
from measure import machine

from hermnet.relations import SCHEMES

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results" / "acceptance"
ELEMENTS = ("Cu", "Ni", "Mo", "Si", "Ge")
_EPOCHS = {"Cu": 12, "Ni": 8, "Mo": 20, "Si": 30, "Ge": 30}
_COMMON = ("training.threads=1", "model.n_layers=2")


def fits(data: Path) -> dict[str, list[str]]:
    """What is trained: the words of ``hermnet fit``, by the run's name."""
    found = {
        f"ethanol_{scheme}": ["quickstart", f"model.relations={scheme}", "trainer.max_epochs=20"]
        for scheme in SCHEMES
    }
    sharp = "model.subnet={name: painn, epsilon: 1e-8}"
    found |= {f"{name}_sharp": [*words, sharp] for name, words in found.items()}
    for element in ELEMENTS:
        path = f"{data}/mlearn_{element}.npz"
        found[element] = [
            "mlearn",
            *_COMMON,
            f"data.train={path}::train",
            f"data.test={path}::test",
            "data.batch_size=2",
            f"trainer.max_epochs={_EPOCHS[element]}",
            "training.compile=true",
            "training.energy_weight=100",
            "training.stress_weight=10000",
        ]
    for name, epsilon in SILICON.items():
        found[name] = [*found["Si"], f"model.subnet={{name: painn, epsilon: {epsilon}}}"]
    found["water"] = [
        "water_deepmd",
        *_COMMON,
        f"data.train=['{data}/water/data_[012]']",
        f"data.val={data}/water/data_3",
        "trainer.max_epochs=20",
        "training.compile=true",
    ]
    found["water_20"] = [*found["water"], "model.n_radial=20"]
    return found


def train(work: Work, models: list[str]) -> None:
    """Train what is not trained yet; a run that was stopped goes on."""
    for name, words in fits(work.data).items():
        run = work.folder / "runs" / name
        if (models and name not in models) or (run / "results.json").is_file():
            continue
        resume = ["--resume"] if (run / "checkpoints" / "last.ckpt").is_file() else []
        work.run("fit", "--config", words[0], f"name={name}", *words[1:], *resume)


PARTS: dict[str, Callable[[Work], dict[str, Any]]] = {
    "kink": kink,
    "nve": nve,
    "cutoff": cutoff,
    "crystals": crystals,
    "water": water,
}


def main() -> None:
    """Do the parts that were asked for."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--data", type=Path, default=Path("data"), help="folder of data sets")
    options.add_argument("--folder", type=Path, default=Path("acceptance"), help="to work in")
    options.add_argument("--results", type=Path, default=RESULTS, help="of numbers and pictures")
    options.add_argument("--parts", nargs="*", default=[], choices=("train", *PARTS))
    options.add_argument("--models", nargs="*", default=[], help="to train; all if not given")
    options.add_argument("--scale", type=float, default=1.0, help="of simulations' lengths (1)")
    options.add_argument("--collect", action="store_true", help="only what is computed already")
    options.add_argument("--page", action="store_true", help="write the page of all results")
    chosen = options.parse_args()
    folders = (chosen.folder.resolve(), chosen.data.resolve(), chosen.results)
    work = Work(*folders, chosen.scale, chosen.collect)
    work.folder.mkdir(parents=True, exist_ok=True)
    work.results.mkdir(parents=True, exist_ok=True)
    for name in chosen.parts:
        if name == "train":
            train(work, chosen.models)
            continue
        found = {**PARTS[name](work), "machine": machine(1, torch.device("cpu"))}
        path = work.results / f"{name}.json"
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(f"written: {path}")
    if chosen.page:
        target = work.results.parent / "acceptance.md"
        target.write_text(page(work.results, fits(Path("data"))), encoding="utf-8")
        print(f"written: {target}")


if __name__ == "__main__":
    main()
