"""graph-pes: PaiNN, SchNet, TensorNet and NequIP."""

from __future__ import annotations

from typing import Any, final

import graph_pes.models
import numpy as np
import torch
from ase.data import chemical_symbols
from graph_pes import AtomicGraph
from model import Model
from torch import Tensor


@final
class GraphPES(Model):
    """A model and its graph."""

    def __init__(self, potential: torch.nn.Module, graph: AtomicGraph) -> None:
        self.potential = potential
        self.graph = graph

    def parameters(self) -> Any:
        """See `Model.parameters`."""
        return self.potential.parameters()

    def __call__(self, training: bool) -> tuple[Tensor, Tensor]:
        """See `Model.__call__`."""
        self.potential.train(training)
        found = self.potential.predict(self.graph, ["energy", "forces"])
        return found["energy"], found["forces"]


def build(arrays: dict[str, np.ndarray], model: dict[str, Any], device: torch.device) -> Model:
    """``kind`` is the class's name."""
    kind, cutoff, n_radial = model["kind"], model["cutoff"], model["n_radial"]
    options: dict[str, Any] = {"cutoff": cutoff, "layers": model["n_layers"]}
    if kind == "NequIP":
        options["elements"] = [chemical_symbols[z] for z in np.unique(arrays["atomic_numbers"])]
        features = {"channels": model["n_channels"], "l_max": model["lmax"]}
        options["features"] = {**features, "use_odd_parity": False}
        options["radial_features"] = n_radial
    elif kind == "SchNet":
        options |= {"channels": model["n_channels"], "expansion_features": n_radial}
    else:
        options |= {"channels": model["n_channels"], "radial_features": n_radial}
    potential = getattr(graph_pes.models, kind)(**options)
    batch = torch.from_numpy(arrays["batch"])
    ends = np.concatenate(([0], np.bincount(arrays["batch"]).cumsum()))
    graph = AtomicGraph(
        Z=torch.from_numpy(arrays["atomic_numbers"]),
        R=torch.from_numpy(arrays["positions"]).float(),
        cell=torch.from_numpy(arrays["cell"]).float(),
        neighbour_list=torch.from_numpy(np.stack((arrays["centers"], arrays["neighbors"]))),
        neighbour_cell_offsets=torch.from_numpy(arrays["shifts"]).float(),
        properties={},
        other={},
        cutoff=cutoff,
        batch=batch,
        ptr=torch.from_numpy(ends),
    )
    return GraphPES(potential.to(device), graph.to(device))
