"""Acceptance of water: its structure in a simulation beside that of the frames it learned from."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from acceptance_work import Work
from ase import Atoms
from numpy.typing import NDArray
from pictures import keep_picture

from hermnet.properties.dynamics_log import THERMO, read_thermo
from hermnet.properties.report import picture

Array = NDArray[np.float64]
MODELS = ("water", "water_20")  # with the recipe's radial functions, and with 20
PAIRS = ("O-O", "H-O", "H-H")
_STEPS = 20_000  # 10 ps
_SKIP = 0.25  # of the frames, until the model's own structure is reached
_CURVES = {"water_rdf": "potential", "water_reference": "reference frames"}


def water(work: Work) -> dict[str, Any]:
    """Radial distribution in water, of the potential and of the frames that it learned."""
    frames = _reference_frames(work)
    ase.io.write(work.folder / "water_start.xyz", frames[-1])
    ase.io.write(work.folder / "water_reference.xyz", frames)
    steps = round(_STEPS * work.scale)
    found: dict[str, Any] = {"picoseconds": steps * 0.5e-3, "models": {}}
    found["nearest_hydrogens_of_frames_A"] = min(map(_nearest, frames))
    for model in MODELS:
        found["models"][model] = _simulated(work, model, steps)
    work.hermnet("water_reference", "rdf", "water_reference.xyz", "--r-max", 6, "--bins", 120)
    skip, end = round(_SKIP * steps / 10), steps // 10 + 1
    counted = f"water_md/trajectory.xyz@{skip}:{end}"
    work.hermnet("water_rdf", "rdf", counted, "--r-max", 6, "--bins", 120)
    found |= {"frames": end - skip, "pairs": _distributions(work)}
    keep_picture(work.folder / "water_md" / "md.png", work.results / "water_md.png")
    return found


def _simulated(work: Work, model: str, steps: int) -> dict[str, Any]:
    """How long a model goes on, how near hydrogens come, and its errors."""
    checkpoint = work.checkpoint(model)
    if checkpoint is None:
        raise SystemExit(f"no model {model}: train it first")
    words = ("md", "water_start.xyz", "--checkpoint", checkpoint, "--temperature", 330)
    timed = ("--timestep", 0.5, "--steps", steps, "--every", 10, "--friction", 5, "--compile")
    if not work.hermnet(f"{model}_md", *words, *timed, may_stop=True):
        raise SystemExit(f"no simulation of {model} yet")
    folder = work.folder / f"{model}_md"
    thermo = read_thermo(folder / THERMO)
    return {
        "simulated_ps": float(thermo["time_fs"][-1]) / 1000,
        "temperature_K": float(thermo["temperature_K"][len(thermo["time_fs"]) // 4 :].mean()),
        "nearest_hydrogens_A": min(map(_nearest, ase.io.iread(folder / "trajectory.xyz"))),
        "validation_errors": work.read(f"runs/{model}/results.json")["val"],
    }


def _nearest(atoms: Atoms) -> float:
    """The shortest distance of two hydrogens, A."""
    hydrogens = atoms[atoms.numbers == 1]
    distances = hydrogens.get_all_distances(mic=True)
    return float(distances[np.triu_indices(len(hydrogens), 1)].min())


def _distributions(work: Work) -> dict[str, Any]:
    """Peaks of both curves for each pair and what they have in common; draws them."""
    curves = {name: _columns(work.folder / name / "rdf.csv") for name in _CURVES}
    model, data = (curves[name] for name in _CURVES)
    found = {}
    with picture(work.results / "water_rdf.png", 3) as axes:
        for axis, pair in zip(axes, PAIRS, strict=True):
            key = f"g_{pair}"
            for (_, label), curve in zip(_CURVES.items(), (model, data), strict=True):
                axis.plot(curve["r_A"], curve[key], label=label, linewidth=1.0)
            outside = data["r_A"] > (2.0 if pair == "O-O" else 1.2)
            axis.set(xlabel="distance, A", ylabel="g(r)", title=pair)
            axis.set_ylim(0, 1.3 * max(model[key][outside].max(), data[key][outside].max()))
            axis.legend(frameon=False)
            overlap = np.minimum(model[key], data[key]) * data["r_A"] ** 2
            total = np.maximum(model[key], data[key]) * data["r_A"] ** 2
            peak = {n: _peak(c, key, outside) for n, c in (("model", model), ("data", data))}
            found[pair] = {"shared_area": float(overlap.sum() / total.sum()), "peaks": peak}
    keep_picture(work.results / "water_rdf.png", work.results / "water_rdf.png")
    return found


def _peak(curve: dict[str, Array], key: str, outside: NDArray[np.bool_]) -> list[float]:
    best = int(np.where(outside, curve[key], 0).argmax())
    return [float(curve["r_A"][best]), float(curve[key][best])]


def _columns(path: Path) -> dict[str, Array]:
    rows = list(csv.DictReader(path.read_text().splitlines()))
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}


def _reference_frames(work: Work) -> list[Atoms]:
    """All frames of the data, as the recipe reads them."""
    from hermnet.recipes.config import resolve
    from hermnet.run.datasets import load_data

    water = work.data / "water"
    given = [f"data.train=['{water}/data_[012]']", f"data.val={water}/data_3"]
    data = load_data(resolve("water_deepmd", given))
    graphs = [graph for split in ("train", "val") for graph in data.graphs(split)]
    return [
        Atoms(g.atomic_numbers.numpy(), g.positions.numpy(), cell=g.cell[0].numpy(), pbc=True)
        for g in graphs
    ]
