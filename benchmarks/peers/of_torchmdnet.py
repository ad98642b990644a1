"""TorchMD-Net: TensorNet, given the neighbor list that the others have instead of its own."""

from __future__ import annotations

from typing import Any, final

import numpy as np
import torch
from model import Model
from torch import Tensor
from torchmdnet.models.model import create_model


@final
class TorchMDNet(Model):
    """A model and its inputs."""

    def __init__(self, potential: torch.nn.Module, inputs: dict[str, Tensor]) -> None:
        self.potential = potential
        self.inputs = inputs

    def parameters(self) -> Any:
        """See `Model.parameters`."""
        return self.potential.parameters()

    def __call__(self, training: bool) -> tuple[Tensor, Tensor]:
        """See `Model.__call__`."""
        self.potential.train(training)
        energy, forces = self.potential(**self.inputs)
        return energy.squeeze(1), forces


class Given(torch.nn.Module):
    """A neighbor list in the form of `OptimizedDistance`, with every atom its own neighbor."""

    def __init__(self, centers: np.ndarray, neighbors: np.ndarray, images: np.ndarray) -> None:
        super().__init__()
        atoms = np.arange(centers.max() + 1)
        pairs = np.stack((np.concatenate((centers, atoms)), np.concatenate((neighbors, atoms))))
        self.register_buffer("pairs", torch.from_numpy(pairs))
        added = np.concatenate((images, np.zeros((len(atoms), 3))))
        self.register_buffer("images", torch.from_numpy(added).float())
        own = (pairs[0] == pairs[1]) & (added == 0).all(axis=1)
        self.register_buffer("own", torch.from_numpy(own))

    def forward(self, pos: Tensor, batch: Tensor, box: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Pairs, distances and vectors."""
        vectors = pos[self.pairs[0]] - pos[self.pairs[1]] - self.images
        safe = vectors.masked_fill(self.own.unsqueeze(1), 1.0)
        return self.pairs, safe.norm(dim=1).masked_fill(self.own, 0.0), vectors


def build(arrays: dict[str, np.ndarray], model: dict[str, Any], device: torch.device) -> Model:
    """TensorNet with the options of its examples besides the sizes given."""
    potential = create_model(
        {
            "model": "tensornet",
            "embedding_dimension": model["n_channels"],
            "num_layers": model["n_layers"],
            "num_rbf": model["n_radial"],
            "rbf_type": "expnorm",
            "trainable_rbf": False,
            "activation": "silu",
            "cutoff_lower": 0.0,
            "cutoff_upper": model["cutoff"],
            "max_z": 100,
            "max_num_neighbors": 64,
            "equivariance_invariance_group": "O(3)",
            "static_shapes": False,
            "precision": 32,
            "derivative": True,
            "atom_filter": -1,
            "prior_model": None,
            "output_model": "Scalar",
            "reduce_op": "add",
        }
    )
    cells = arrays["cell"][arrays["batch"][arrays["centers"]]]
    images = np.einsum("ei,eij->ej", arrays["shifts"], cells)
    given = Given(arrays["centers"], arrays["neighbors"], images)
    potential.representation_model.distance = given
    inputs = {
        "z": arrays["atomic_numbers"],
        "pos": arrays["positions"].astype(np.float32),
        "batch": arrays["batch"],
    }
    tensors = {name: torch.from_numpy(value).to(device) for name, value in inputs.items()}
    return TorchMDNet(potential.to(device), tensors)
