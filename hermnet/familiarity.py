"""Which relations of a structure training hardly saw."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from hermnet.derivatives import edge_vectors
from hermnet.graph import AtomicGraph
from hermnet.relations import Scheme

RARE = 100  # training edges, below which a relation's weights are little more than their start


class Related(Protocol):
    """A model, compiled or not, that can tell the relations of a structure."""

    @property
    def cutoff(self) -> float:
        """In A."""

    @property
    def scheme(self) -> Scheme:
        """What decides the relation of an edge."""

    def classes_of(self, atomic_numbers: Tensor) -> Tensor:
        """Index of each atom's class, (n_atoms,)."""


class Familiarity:
    """Warns, once for each relation, of a structure that uses what training hardly saw.

    Args:
        model: that will compute the structures.
        relations: number of training edges of each relation by its label, None where not known.
    """

    def __init__(self, model: Related, relations: Mapping[str, int | None]) -> None:
        self._model = model
        known = {label: n for label, n in relations.items() if n is not None}
        self._rare = {label: n for label, n in known.items() if n < RARE}

    def check(self, graph: AtomicGraph) -> None:
        """Look at a structure with its neighbor list; costs nothing where no relation is rare."""
        if not self._rare:
            return
        scheme = self._model.scheme
        near = edge_vectors(graph).norm(dim=1) < self._model.cutoff  # lists may go beyond it
        classes = self._model.classes_of(graph.atomic_numbers)
        links = scheme.links(classes, graph.centers[near], graph.neighbors[near])
        counts = torch.bincount(links.relation, minlength=scheme.n_relations).tolist()
        used = dict(zip(scheme.labels, counts, strict=True))
        found = {label: n for label, n in self._rare.items() if used[label]}
        if found:
            told = ", ".join(f"{label} ({n} edges)" for label, n in found.items())
            warnings.warn(
                f"training hardly saw relations that this structure has: {told}; energies and "
                "forces are guesses there",
                stacklevel=5,
            )
        self._rare = {label: n for label, n in self._rare.items() if label not in found}
