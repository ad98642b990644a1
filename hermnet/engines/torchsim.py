"""torch-sim with a potential: simulations of many structures at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from hermnet.batched_skin import BatchedSkinNeighbors
from hermnet.checkpoints.checkpoint import load_potential
from hermnet.compiled import CompiledEvaluator
from hermnet.elements import symbol
from hermnet.errors import InputError
from hermnet.graph import AtomicGraph

try:
    from torch_sim.models.interface import ModelInterface
except ImportError as error:
    raise InputError(
        'torch-sim is not installed: pip install "hermnet[torchsim]" (Python 3.12 or newer)'
    ) from error


@final
class TorchSimModel(ModelInterface):  # type: ignore[misc]  # of an extra
    """A potential as a model of torch-sim, for any number of structures in one batch.

    The state of a simulation is in float64, whatever the weights are in. The stress of structures
    without a cell is zero.

    Args:
        checkpoint: of a potential.
        device: where to compute; by default on the GPU where there is one.
        dtype: of the weights, ``float32`` or ``float64``; by default as trained.
        compile: whether to compile the potential at its first use.
        skin: in A; see `hermnet.SkinNeighbors`.

    Raises:
        InputError: for a file that is no usable checkpoint of a potential, and, when it computes,
            for an element that the potential does not know.
    """

    def __init__(
        self,
        checkpoint: str | Path,
        device: torch.device | str | None = None,
        dtype: str | None = None,
        compile: bool = False,
        skin: float = 0.5,
    ) -> None:
        super().__init__()
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._dtype = torch.float64
        self._compute_forces = True
        self._compute_stress = True
        self.potential = load_potential(checkpoint, self._device, dtype).requires_grad_(False)
        if compile:
            self.potential.evaluate = CompiledEvaluator()
        self.neighbors = BatchedSkinNeighbors(self.potential.cutoff, skin)

    def forward(self, state: Any, **_: Any) -> dict[str, Tensor]:
        """Energy (n_systems,), forces (n_atoms, 3) and stress (n_systems, 3, 3) of a state.

        Args:
            state: a ``torch_sim.SimState``.

        Raises:
            InputError: for an element that the potential does not know, and as
                `hermnet.with_neighbors`.
        """
        graph = _graph(state)
        strangers = set(graph.atomic_numbers.unique().tolist()) - set(self.potential.elements)
        if strangers:
            raise InputError(
                f"the potential does not know {', '.join(map(symbol, sorted(strangers)))}; "
                f"it was trained on {', '.join(map(symbol, sorted(self.potential.elements)))}"
            )
        with torch.no_grad():
            found = self.potential(self.neighbors(graph), stress=True)
        return {
            "energy": found.energy.detach().to(self._dtype),
            "forces": found.forces.detach().to(self._dtype),
            "stress": found.stress.detach().to(self._dtype).nan_to_num(nan=0.0),
        }


def _graph(state: Any) -> AtomicGraph:
    """The structures of a state, without edges."""
    positions = state.positions.double()
    pbc = torch.as_tensor(state.pbc, device=positions.device)
    none = torch.empty(0, dtype=torch.int64, device=positions.device)
    return AtomicGraph(
        positions=positions,
        atomic_numbers=state.atomic_numbers.long(),
        cell=state.row_vector_cell.double().contiguous(),
        pbc=pbc.expand(state.n_systems, 3),
        batch=state.system_idx.long(),
        centers=none,
        neighbors=none,
        shifts=positions.new_empty((0, 3)),
    )
