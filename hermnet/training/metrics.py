"""Errors of a set of structures, gathered as sums and counts.

A mean of batch means is wrong as soon as batches, or the shares of several processes, differ in
size; sums and counts add up.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hermnet.graph import AtomicGraph
from hermnet.potential import Prediction

TARGETS = ("energy", "energy_per_atom", "forces", "stress")


class ErrorSums:
    """Running sums of absolute and squared errors of each target.

    ``energy`` counts structures (eV), ``energy_per_atom`` too (eV/atom), ``forces`` and ``stress``
    components (eV/A, eV/A^3).
    """

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}  # (3,) float64: sum |e|, sum e^2, count

    def update(self, prediction: Prediction, graph: AtomicGraph) -> None:
        """Add a batch; targets without label or prediction are left out."""
        if graph.energy is not None:
            n_atoms = graph.atoms_per_system()
            self._add("energy", prediction.energy, graph.energy)
            self._add("energy_per_atom", prediction.energy / n_atoms, graph.energy / n_atoms)
        if graph.forces is not None and prediction.forces is not None:
            self._add("forces", prediction.forces, graph.forces)
        if graph.stress is not None and prediction.stress is not None:
            self._add("stress", prediction.stress, graph.stress)

    def _add(self, target: str, predicted: Tensor, label: Tensor) -> None:
        """Count the errors; where a label is NaN, the frame lacks it."""
        there = ~label.isnan()
        error = torch.where(there, predicted.detach().to(torch.float64) - label, 0.0)
        sums = torch.stack((error.abs().sum(), error.square().sum(), there.sum()))
        self.sums[target] = self.sums[target] + sums if target in self.sums else sums

    def reduce(self, over_processes: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """Mean absolute and root mean square errors, ``<target>_mae`` and ``<target>_rmse``.

        Args:
            over_processes: adds a tensor up over all processes.
        """
        errors = {}
        # Of all targets: another process may have frames with labels that this one has not seen.
        device = next((sums.device for sums in self.sums.values()), None)
        none = torch.zeros(3, dtype=torch.float64, device=device)
        table = over_processes(torch.stack([self.sums.get(target, none) for target in TARGETS]))
        for target, (absolute, squared, count) in zip(TARGETS, table.tolist(), strict=True):
            if count:
                errors[f"{target}_mae"] = absolute / count
                errors[f"{target}_rmse"] = (squared / count) ** 0.5
        return errors
