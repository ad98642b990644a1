"""Errors of the forces by element and by relation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from hermnet.elements import symbol
from hermnet.graph import AtomicGraph
from hermnet.potential import Potential, Prediction

_N_NUMBERS = 119  # atomic numbers 0 to 118
_MILLI = 1000.0  # eV to meV
KINDS = ("elements", "relations")


@dataclass(frozen=True)
class GroupError:
    """How well the forces on some atoms are predicted.

    Attributes:
        mae: mean absolute error of the components in meV/A.
        n_atoms: how many atoms have labels; as receivers of relations an atom may count in several.
    """

    mae: float
    n_atoms: int


Groups = Mapping[str, Mapping[str, GroupError]]  # by one of KINDS, then element or relation


@final
class ForceErrors:
    """Running sums of the errors of forces on the atoms of each element and each relation.

    The atoms of a relation are those that it sends messages to: its receiving copies.

    Args:
        potential: knows the relations.
    """

    def __init__(self, potential: Potential) -> None:
        self._potential = potential
        device = next(potential.parameters()).device
        sizes = (_N_NUMBERS, len(potential.relation_labels))
        # sum of absolute errors, components, atoms
        self._sums = [torch.zeros(n, 3, dtype=torch.float64, device=device) for n in sizes]

    def update(self, prediction: Prediction, graph: AtomicGraph) -> None:
        """Add a batch on the potential's device; components without label count for nothing."""
        if graph.forces is None or prediction.forces is None:
            return
        there = ~graph.forces.isnan()
        errors = torch.where(there, prediction.forces.to(torch.float64) - graph.forces, 0.0).abs()
        rows = torch.stack((errors.sum(dim=1), there.sum(dim=1), there.any(dim=1)), dim=1)
        by_element, by_relation = self._sums
        by_element.index_add_(0, graph.atomic_numbers, rows)
        relation, atom = self._receivers(graph)
        by_relation.index_add_(0, relation, rows.index_select(0, atom))

    def _receivers(self, graph: AtomicGraph) -> tuple[Tensor, Tensor]:
        """Relation and atom of each receiving copy, (n_copies,) each."""
        network = self._potential
        classes = network.classes_of(graph.atomic_numbers)
        copies = network.scheme.expand(classes, graph.centers, graph.neighbors).receivers
        sizes = copies.offsets.diff(prepend=copies.offsets.new_zeros(1))
        numbers = torch.arange(len(sizes), device=sizes.device)
        return numbers.repeat_interleave(sizes), copies.atom

    def result(self) -> Groups:
        """The errors of all elements and relations that have labels; empty without any."""
        names = [
            ["", *map(symbol, range(1, _N_NUMBERS))],
            list(self._potential.relation_labels),
        ]
        groups = {}
        for kind, labels, sums in zip(KINDS, names, self._sums, strict=True):
            found = {
                label: GroupError(_MILLI * total / components, int(atoms))
                for label, (total, components, atoms) in zip(labels, sums.tolist(), strict=True)
                if components
            }
            if found:
                groups[kind] = found
        return groups
