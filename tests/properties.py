"""Small models of properties, and molecules with properties as labels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.build import molecule

from hermnet.datamodule import GraphDataModule
from hermnet.graph import AtomicGraph
from hermnet.model_options import ModelOptions
from hermnet.neighbors import graph_from_atoms
from hermnet.property_model import PropertyModel

ELEMENTS = (1, 6, 8)
CUTOFF = 3.0
UNITS = {"gap": "eV", "u0": "eV", "mu": "D", "r2": "a0^2", "alpha": "a0^3", "dipole": "e A"}
READOUTS: dict[str, dict[str, Any]] = {
    "sum": {"name": "scalar", "targets": ["u0"], "mode": "sum"},
    "mean": {"name": "scalar", "targets": {"gap": "mean", "u0": "sum"}},
    "vector": {"name": "dipole"},
    "norm": {"name": "dipole", "norm": True},
    "extent": {"name": "spatial_extent"},
    "polarizability": {"name": "polarizability"},
}


def options(readout: str, **others: Any) -> ModelOptions:
    """Small sizes, float64."""
    small: dict[str, Any] = {
        "n_channels": 4,
        "n_layers": 2,
        "n_radial": 5,
        "cutoff": CUTOFF,
        "dtype": "float64",
    }
    return ModelOptions(readout=READOUTS[readout], **{**small, **others})


def random_model(readout: str, **others: Any) -> PropertyModel:
    """A model with noise on every parameter and on every number from a training set."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = PropertyModel(options(readout, **others), ELEMENTS, 8.0, UNITS)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
            for name, buffer in model.readout.named_buffers():
                if name.endswith(("per_element", "scale")):
                    buffer.copy_(0.5 + torch.rand_like(buffer))
    return model


def ethanol(seed: int = 0) -> Atoms:
    """A distorted ethanol away from the origin."""
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.1, seed=seed)
    atoms.positions += (1.0, -2.0, 0.5)
    return atoms


class Molecules(GraphDataModule):
    """Distorted molecules whose properties are simple functions of their geometry.

    Args:
        units: what mu, r2 and alpha are in: atomic or internal.
    """

    scalar_names = ("gap", "u0", "mu", "r2", "alpha")

    def __init__(self, *, units: str = "atomic", batch_size: int = 4, seed: int = 0) -> None:
        super().__init__(batch_size=batch_size, eval_batch_size=5, seed=seed)
        atomic = units == "atomic"
        self.scalar_units = ("eV", "eV", *(("D", "a0^2", "a0^3") if atomic else INTERNAL))
        self.factors = (1 / 0.20819434, 1 / 0.52917721**2, 1 / 0.52917721**3)
        self.factors = self.factors if atomic else (1.0, 1.0, 1.0)

    def read(self) -> dict[str, list[AtomicGraph]]:
        """Twelve, four and four molecules."""
        frames = [self.frame(seed) for seed in range(20)]
        return {"train": frames[:12], "val": frames[12:16], "test": frames[16:]}

    def frame(self, seed: int) -> AtomicGraph:
        """One molecule with all labels."""
        atoms = molecule(("CH3OH", "CH3CH2OH", "H2CO", "CH4")[seed % 4])
        atoms.rattle(0.08, seed=seed)
        r = atoms.positions - atoms.get_center_of_mass()
        charges = np.where(atoms.numbers == 8, -0.6, 0.1)
        dipole = (charges - charges.mean()) @ r
        values = np.array(
            [
                5.0 + np.linalg.norm(r, axis=1).mean(),
                -13.6 * len(atoms) - 1000.0 * np.count_nonzero(atoms.numbers > 1) + 0.1 * r.std(),
                np.linalg.norm(dipole) * self.factors[0],
                atoms.numbers @ (r**2).sum(axis=1) * self.factors[1],
                (len(atoms) + 0.3 * r.std()) * self.factors[2],
            ]
        )
        return replace(
            graph_from_atoms(atoms),
            scalars=torch.tensor(values[None]),
            dipole=torch.tensor(dipole[None]),
        )


INTERNAL = ("e A", "A^2", "A^3")
