"""MACE: `ScaleShiftMACE` of two layers."""

from __future__ import annotations

from typing import Any, final

import numpy as np
import torch
from model import Model
from torch import Tensor

torch.serialization.add_safe_globals([slice])  # in the tables that its e3nn loads at import
from e3nn import o3  # noqa: E402
from mace import modules  # noqa: E402


@final
class MACE(Model):
    """A model and its data."""

    def __init__(self, potential: torch.nn.Module, data: dict[str, Tensor]) -> None:
        self.potential = potential
        self.data = data

    def parameters(self) -> Any:
        """See `Model.parameters`."""
        return self.potential.parameters()

    def __call__(self, training: bool) -> tuple[Tensor, Tensor]:
        """See `Model.__call__`."""
        found = self.potential(dict(self.data), training=training)
        return found["energy"], found["forces"]


def build(arrays: dict[str, np.ndarray], model: dict[str, Any], device: torch.device) -> Model:
    """``irreps`` are those of the features, such as 64x0e+64x1o."""
    numbers, types = np.unique(arrays["atomic_numbers"], return_inverse=True)
    blocks = modules.interaction_classes
    potential = modules.ScaleShiftMACE(
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
        r_max=model["cutoff"],
        num_bessel=model["n_radial"],
        num_polynomial_cutoff=6,
        max_ell=3,
        interaction_cls=blocks["RealAgnosticResidualInteractionBlock"],
        interaction_cls_first=blocks["RealAgnosticInteractionBlock"],
        num_interactions=model["n_layers"],
        num_elements=len(numbers),
        hidden_irreps=o3.Irreps(model["irreps"]),
        MLP_irreps=o3.Irreps("16x0e"),
        atomic_energies=np.zeros(len(numbers)),
        avg_num_neighbors=len(arrays["centers"]) / len(types),
        atomic_numbers=numbers.tolist(),
        correlation=3,
        gate=torch.nn.functional.silu,
    )
    cells = arrays["cell"][arrays["batch"][arrays["centers"]]]
    images = np.einsum("ei,eij->ej", arrays["shifts"], cells)
    ends = np.concatenate(([0], np.bincount(arrays["batch"]).cumsum()))
    data = {
        "positions": arrays["positions"].astype(np.float32),
        "node_attrs": np.eye(len(numbers), dtype=np.float32)[types],
        "edge_index": np.stack((arrays["neighbors"], arrays["centers"])),  # sender, receiver
        "shifts": -images.astype(np.float32),
        "unit_shifts": -arrays["shifts"].astype(np.float32),
        "cell": arrays["cell"].reshape(-1, 3).astype(np.float32),
        "batch": arrays["batch"],
        "ptr": ends,
    }
    tensors = {name: torch.from_numpy(value).to(device) for name, value in data.items()}
    return MACE(potential.to(device), tensors)
