"""One contender's ASE calculator in a process of its own, which simulates silicon line by line.

    python simulate.py schnetpack      # in the environment that has the package

Requests and answers are JSON objects, a line each, as those of ``serve.py``:

    {"do": "load", "file": "cell.npz", "model": {...}}    {"torch": "2.15.0"}
    {"do": "start", "repeats": 4}                         {"n_atoms": 512}
    {"do": "step", "times": 10}                           {"wall": 1.2, "process": 1.1}
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import units
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet

A = 5.469  # A, of silicon


def of_schnetpack(model: Any, options: dict[str, Any], device: str) -> Calculator:
    """SchNetPack's calculator with its fastest neighbor list that is installed, and a skin."""
    import schnetpack as spk

    if importlib.util.find_spec("matscipy"):
        inner = spk.transform.MatScipyNeighborList(cutoff=options["cutoff"])
    else:
        inner = spk.transform.ASENeighborList(cutoff=options["cutoff"])
    skin = spk.transform.SkinNeighborList(neighbor_list=inner, cutoff_skin=0.5)
    return spk.interfaces.SpkCalculator(
        model.potential.eval(), skin, energy_unit="eV", position_unit="Ang", device=device
    )


def of_mace(model: Any, options: dict[str, Any], device: str) -> Calculator:
    """MACE's calculator."""
    from mace.calculators import MACECalculator

    return MACECalculator(models=[model.potential.eval()], device=device, default_dtype="float32")


def of_nequip(model: Any, options: dict[str, Any], device: str) -> Calculator:
    """NequIP's calculator."""
    from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper, NeighborListTransform
    from nequip.integrations.ase import NequIPCalculator

    transforms = [
        ChemicalSpeciesToAtomTypeMapper(model_type_names=["Si"]),
        NeighborListTransform(r_max=options["cutoff"]),
    ]
    return NequIPCalculator(model.potential.eval(), device=device, transforms=transforms)


def of_hermnet(model: Any, options: dict[str, Any], device: str) -> Calculator:
    """HermNet's calculator, of a checkpoint or an export that is written for it."""
    from dataclasses import asdict

    from hermnet.calculator import HermNetCalculator
    from hermnet.checkpoints.checkpoint import describe
    from hermnet.export.compiling import compile_potential, describe_model

    potential = model.potential
    about = describe(potential, {"name": "md", "model": asdict(potential.options), "training": {}})
    about |= {"position": {"epoch": 0, "batch": 0, "n_batches": 1}, "metrics": {}}
    state = {f"potential.{name}": value for name, value in potential.state_dict().items()}
    with tempfile.TemporaryDirectory() as folder:
        if options["form"] == "exported":
            path = Path(folder) / "md.pt2"
            threads = torch.get_num_threads()
            path.write_bytes(compile_potential(potential, describe_model(potential), threads))
            return HermNetCalculator(path)
        path = Path(folder) / "md.ckpt"
        torch.save({"state_dict": state, "epoch": 0, "global_step": 0, "hermnet": about}, path)
        compiled = options["form"] == "compiled"
        return HermNetCalculator(path, device=device, compile=compiled)


CALCULATORS = {
    "schnetpack": of_schnetpack,
    "mace": of_mace,
    "nequip": of_nequip,
    "hermnet": of_hermnet,
}
_OF_ONE_STRUCTURE = {"schnetpack"}  # keep their neighbor list whatever they are given


def answer(request: dict[str, Any], package: str, held: dict[str, Any]) -> dict[str, Any]:
    """Do what a request says."""
    todo = request["do"]
    if todo == "load":
        if request.get("gigabytes"):
            resource.setrlimit(resource.RLIMIT_AS, (int(request["gigabytes"] * 1e9),) * 2)
        torch.set_num_threads(request.get("threads", 1))
        device, model = request.get("device", "cpu"), request["model"]
        with np.load(request["file"]) as arrays:
            given = {name: arrays[name] for name in arrays.files}
        torch.manual_seed(0)
        built = importlib.import_module(f"of_{package}").build(given, model, torch.device(device))
        held["make"] = partial(CALCULATORS[package], built, model, device)
        held["calculator"] = held["make"]()
        return {"torch": torch.__version__}
    if todo == "start":
        atoms = bulk("Si", "diamond", a=A, cubic=True).repeat(request["repeats"])
        atoms.rattle(0.05, seed=0)
        MaxwellBoltzmannDistribution(atoms, temperature_K=300, rng=np.random.default_rng(0))
        if package in _OF_ONE_STRUCTURE:
            held["calculator"] = held["make"]()
        atoms.calc = held["calculator"]
        held["dynamics"] = VelocityVerlet(atoms, 0.5 * units.fs)
        held["dynamics"].run(2)  # which compiles, where something does
        return {"n_atoms": len(atoms)}
    start, worked = time.perf_counter(), time.process_time()
    held["dynamics"].run(request["times"])
    if not np.isfinite(held["dynamics"].atoms.positions).all():
        raise ValueError("positions are no finite numbers any more")
    return {"wall": time.perf_counter() - start, "process": time.process_time() - worked}


def main() -> None:
    """Answer until there is nothing more to read."""
    warnings.simplefilter("ignore")
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever packages print goes to standard error
    held: dict[str, Any] = {}
    for line in sys.stdin:
        try:
            found = answer(json.loads(line), sys.argv[1], held)
        except Exception as error:  # the other side decides what to do
            reason = (str(error).strip().splitlines() or [""])[0]
            found = {"error": f"{type(error).__name__}: {reason}"}
        out.write(json.dumps(found) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
