"""NequIP, eager or with its own compilation for training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, final

import numpy as np
import torch
from ase.data import chemical_symbols
from model import Model
from nequip.data import AtomicDataDict as Key
from nequip.model import NequIPGNNModel
from nequip.nn import GraphModel
from nequip.utils.global_state import set_global_state
from torch import Tensor


@final
class NequIP(Model):
    """A model and its data."""

    def __init__(self, potential: GraphModel, data: dict[str, Tensor]) -> None:
        self.potential = potential
        self.data = data
        self.forward = potential.forward

    def parameters(self) -> Any:
        """See `Model.parameters`."""
        return self.potential.parameters()

    def __call__(self, training: bool) -> tuple[Tensor, Tensor]:
        """See `Model.__call__`."""
        self.potential.train(training)
        found = self.forward(dict(self.data))
        return found[Key.TOTAL_ENERGY_KEY].squeeze(1), found[Key.FORCE_KEY]

    @contextmanager
    def eagerly(self) -> Iterator[None]:
        """See `Model.eagerly`."""
        before, self.forward = self.forward, partial(GraphModel.forward, self.potential)
        yield
        self.forward = before


def build(arrays: dict[str, np.ndarray], model: dict[str, Any], device: torch.device) -> Model:
    """``compiled`` asks for NequIP's ``compile_mode: compile``."""
    set_global_state()
    numbers, types = np.unique(arrays["atomic_numbers"], return_inverse=True)
    compiled = model.get("compiled", False)
    if compiled and len(arrays["cell"]) < 2:
        raise ValueError("NequIP's compiled model runs eagerly for a single structure")
    potential = NequIPGNNModel(
        seed=0,
        model_dtype="float32",
        compile_mode="compile" if compiled else "eager",
        r_max=model["cutoff"],
        type_names=[chemical_symbols[z] for z in numbers],
        num_layers=model["n_layers"],
        l_max=model["lmax"],
        parity=False,
        num_features=model["n_channels"],
        radial_mlp_depth=model["radial_layers"],
        radial_mlp_width=model["radial_hidden"],
        num_bessels=model["n_radial"],
        avg_num_neighbors=len(arrays["centers"]) / len(numbers),
        per_type_energy_scales=1.0,
        per_type_energy_shifts=0.0,
    )
    data = {
        Key.POSITIONS_KEY: torch.from_numpy(arrays["positions"]),
        Key.ATOM_TYPE_KEY: torch.from_numpy(types),
        Key.EDGE_INDEX_KEY: torch.from_numpy(np.stack((arrays["centers"], arrays["neighbors"]))),
        Key.BATCH_KEY: torch.from_numpy(arrays["batch"]),
        Key.NUM_NODES_KEY: torch.from_numpy(np.bincount(arrays["batch"])),
    }
    if arrays["pbc"].any():
        data[Key.CELL_KEY] = torch.from_numpy(arrays["cell"])
        data[Key.EDGE_CELL_SHIFT_KEY] = torch.from_numpy(arrays["shifts"])
    return NequIP(potential.to(device), {name: value.to(device) for name, value in data.items()})
