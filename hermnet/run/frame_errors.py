"""Errors frame by frame, which statistics need: the errors of one frame go together."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hermnet.errors import InputError
from hermnet.graph import AtomicGraph
from hermnet.host.atomic import write_atomically
from hermnet.potential import Prediction

Array = NDArray[np.float64]
FrameSums = Mapping[str, Array]  # by target (n_frames, 3): sum |e|, sum e^2, number of values
_MILLI = 1000.0  # eV to meV


@final
class FrameErrors:
    """Sums of errors over each frame, in the order of the frames and in meV, meV/A, meV/A^3."""

    def __init__(self) -> None:
        self._rows: dict[str, list[Tensor]] = {}

    def update(self, prediction: Prediction, graph: AtomicGraph) -> None:
        """Add a batch; targets without label or prediction are left out."""
        n_atoms, n = graph.atoms_per_system(), graph.n_systems
        frames = torch.arange(n, device=n_atoms.device)
        if graph.energy is not None:
            error = _MILLI * (prediction.energy - graph.energy)
            self.add("energy", error, frames, n)
            self.add("energy_per_atom", error / n_atoms, frames, n)
        if graph.forces is not None and prediction.forces is not None:
            error = _MILLI * (prediction.forces.to(torch.float64) - graph.forces)
            self.add("forces", error, graph.batch, n)
        if graph.stress is not None and prediction.stress is not None:
            error = _MILLI * (prediction.stress.to(torch.float64) - graph.stress)
            self.add("stress", error, frames, n)

    def add(self, target: str, error: Tensor, frame: Tensor, n_frames: int) -> None:
        """Add the errors of one target, NaN where there is no label.

        Args:
            target: its name.
            error: (n, ...) with n atoms or structures.
            frame: (n,) which structure of the batch each is of.
            n_frames: structures of the batch.
        """
        flat = error.detach().to(torch.float64).reshape(len(error), -1)
        there = torch.isfinite(flat)
        flat = torch.where(there, flat, 0.0)
        rows = torch.stack((flat.abs().sum(1), flat.square().sum(1), there.sum(1)), dim=1)
        sums = rows.new_zeros(n_frames, 3).index_add_(0, frame, rows)
        self._rows.setdefault(target, []).append(sums.cpu())

    def result(self) -> dict[str, Array]:
        """The sums of all frames so far; targets without any label are left out."""
        found = {target: torch.cat(rows).numpy() for target, rows in self._rows.items()}
        return {target: sums for target, sums in found.items() if sums[:, 2].any()}


def write_frame_errors(path: Path, by_split: Mapping[str, FrameSums]) -> None:
    """Write the sums of each split as an npz file, arrays ``<split>/<target>``."""
    arrays = {f"{s}/{t}": sums for s, targets in by_split.items() for t, sums in targets.items()}
    buffer = io.BytesIO()
    compact: dict[str, Any] = {name: sums.astype(np.float32) for name, sums in arrays.items()}
    np.savez_compressed(buffer, **compact)
    write_atomically(path, buffer.getvalue())


def read_frame_errors(path: Path) -> dict[str, dict[str, Array]]:
    """What `write_frame_errors` wrote, by split and target.

    Raises:
        InputError: if there is no such file, or it holds something else.
    """
    found: dict[str, dict[str, Array]] = {}
    try:
        with np.load(path, allow_pickle=False) as arrays:
            for name, sums in arrays.items():
                split, _, target = name.rpartition("/")
                found.setdefault(split, {})[target] = sums.astype(np.float64)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} does not hold errors of frames: {error}") from error
    return found
