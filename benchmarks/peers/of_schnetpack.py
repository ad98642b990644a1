"""SchNetPack: PaiNN and SchNet."""

from __future__ import annotations

from typing import Any, final

import numpy as np
import schnetpack as spk
import torch
from model import Model
from torch import Tensor


@final
class SchNetPack(Model):
    """A `NeuralNetworkPotential` and its inputs."""

    def __init__(self, potential: torch.nn.Module, inputs: dict[str, Tensor]) -> None:
        self.potential = potential
        self.inputs = inputs

    def parameters(self) -> Any:
        """See `Model.parameters`."""
        return self.potential.parameters()

    def __call__(self, training: bool) -> tuple[Tensor, Tensor]:
        """See `Model.__call__`."""
        self.potential.train(training)
        found = self.potential(dict(self.inputs))
        return found["energy"], found["forces"]


def build(arrays: dict[str, np.ndarray], model: dict[str, Any], device: torch.device) -> Model:
    """``kind`` is PaiNN or SchNet."""
    cutoff, c = model["cutoff"], model["n_channels"]
    representation = getattr(spk.representation, model["kind"])(
        n_atom_basis=c,
        n_interactions=model["n_layers"],
        radial_basis=spk.nn.GaussianRBF(n_rbf=model["n_radial"], cutoff=cutoff),
        cutoff_fn=spk.nn.CosineCutoff(cutoff),
    )
    potential = spk.model.NeuralNetworkPotential(
        representation=representation,
        input_modules=[spk.atomistic.PairwiseDistances()],
        output_modules=[
            spk.atomistic.Atomwise(n_in=c, output_key="energy"),
            spk.atomistic.Forces(energy_key="energy", force_key="forces"),
        ],
    )
    cells = arrays["cell"][arrays["batch"][arrays["centers"]]]
    offsets = np.einsum("ei,eij->ej", arrays["shifts"], cells)
    key = spk.properties
    inputs = {
        key.Z: arrays["atomic_numbers"],
        key.R: arrays["positions"].astype(np.float32),
        key.cell: arrays["cell"].astype(np.float32),
        key.pbc: arrays["pbc"],
        key.idx_m: arrays["batch"],
        key.idx_i: arrays["centers"],
        key.idx_j: arrays["neighbors"],
        key.offsets: offsets.astype(np.float32),
        key.n_atoms: np.bincount(arrays["batch"]),
    }
    tensors = {name: torch.from_numpy(value).to(device) for name, value in inputs.items()}
    return SchNetPack(potential.to(device), tensors)
