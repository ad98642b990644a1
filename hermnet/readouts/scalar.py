"""Scalar properties, extensive or intensive, several at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from hermnet.elements import number, symbol
from hermnet.errors import InputError, nearest
from hermnet.graph import AtomicGraph
from hermnet.readouts.atom_heads import ScalarHead
from hermnet.readouts.baseline import Baseline, ColumnFit, WeightedSums
from hermnet.readouts.readout import Calibration, PropertyReadout, ReadoutShape, Target
from hermnet.segments import segment_sum

_MODES = ("mean", "sum")


@final
class ScalarReadout(PropertyReadout):
    """Sums or means over atoms of what a two-layer perceptron makes of each atom's scalars.

    An extensive target adds to that a contribution of each atom's element, fitted by least squares
    or given; an intensive one adds its mean over the training set.

    Args:
        shape: sizes and elements.
        targets: names of scalars of the data, or a mapping from these names to their mode.
        mode: ``sum`` (extensive) or ``mean`` (intensive) for all targets of a list.
        references: for extensive targets, by target and element, what an isolated atom has, in the
            target's unit; least squares for the others.

    Raises:
        InputError: for no targets, a target without mode, or references of no such target.
    """

    needs_molecules: ClassVar[bool] = False

    def __init__(
        self,
        shape: ReadoutShape,
        *,
        targets: list[str] | dict[str, str],
        mode: Literal["sum", "mean"] | None = None,
        references: dict[str, dict[str, float]] | None = None,
    ) -> None:
        super().__init__(shape)
        self.modes = _modes(targets, mode)
        self.targets = tuple(Target(name) for name in self.modes)
        self.elements = shape.elements
        self.references = _checked(references or {}, self.modes)
        is_mean = [chosen == "mean" for chosen in self.modes.values()]
        self.register_buffer("is_mean", torch.tensor(is_mean), persistent=False)
        self.is_mean: Tensor
        self.head = ScalarHead(shape.n_channels, len(self.targets))
        self.baseline = Baseline(len(shape.elements), len(self.targets))

    def calibrate(self, graph: AtomicGraph, types: Tensor, labels: Tensor) -> Calibration:
        """See `PropertyReadout.calibrate`."""
        per_atom = torch.ones(graph.n_atoms, dtype=torch.float64)
        counts = WeightedSums.of(graph, types, per_atom, len(self.elements))
        shares = WeightedSums(counts.features / counts.features.sum(dim=1, keepdim=True))
        fits: list[ColumnFit] = []
        for target, label in zip(self.targets, labels.T, strict=True):
            if self.modes[target.name] == "mean":
                fits.append(shares.mean(target, label))
            elif target.name in self.references:
                fits.append(counts.given(target, label, self._given(target.name), []))
            else:
                fits.append(counts.least_squares(target, label))
            self.baseline.set(len(fits) - 1, fits[-1])
        return Calibration([fit.residual for fit in fits], [n for fit in fits for n in fit.notes])

    def _given(self, target: str) -> Tensor:
        values = self.references[target]
        missing = [symbol(z) for z in self.elements if z not in values]
        if missing:
            raise InputError(
                f"model.readout.references.{target}: no value for {', '.join(missing)}"
            )
        return torch.tensor([values[z] for z in self.elements], dtype=torch.float64)

    def forward(self, x: Tensor, types: Tensor, graph: AtomicGraph) -> Tensor:
        """See `PropertyReadout.forward`."""
        contributions = self.baseline(self.head(x), types)
        sums = segment_sum(contributions, graph.batch, graph.n_systems)
        return torch.where(self.is_mean, sums / graph.atoms_per_system().unsqueeze(1), sums)


def _modes(targets: list[str] | Mapping[str, str], mode: str | None) -> dict[str, str]:
    """The mode of each target."""
    if not targets:
        raise InputError("model.readout.targets: name at least one scalar of the data")
    if isinstance(targets, Mapping):
        if mode is not None:
            raise InputError("model.readout.mode: the targets have their own modes; leave it out")
        found = {str(name): str(chosen) for name, chosen in targets.items()}
    elif mode is None:
        raise InputError(
            "model.readout.mode: say sum (extensive) or mean (intensive), or make targets a "
            "mapping from target to mode"
        )
    else:
        found = dict.fromkeys(map(str, targets), mode)
        if len(found) < len(targets):
            raise InputError("model.readout.targets: a target is named twice")
    for name, chosen in found.items():
        if chosen not in _MODES:
            hint = nearest(chosen, _MODES)
            raise InputError(f"model.readout.targets.{name}: unknown mode '{chosen}'; {hint}")
    return found


def _checked(
    references: Mapping[str, Mapping[str, float]], modes: Mapping[str, str]
) -> dict[str, dict[int, float]]:
    """The references by target and atomic number."""
    extensive = [name for name, mode in modes.items() if mode == "sum"]
    for name in references:
        if name not in extensive:
            hint = nearest(name, extensive)
            raise InputError(f"model.readout.references: no extensive target '{name}'; {hint}")
    return {
        name: {number(element): float(value) for element, value in values.items()}
        for name, values in references.items()
    }
