"""Which relations of a structure training hardly saw."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import torch

from hermnet.derivatives import edge_vectors
from hermnet.graph import AtomicGraph
from hermnet.network import Network

RARE = 100  # training edges, below which a relation's weights are little more than their start


class Familiarity:
    """Warns, once for each relation, of a structure that uses what training hardly saw.

    Args:
        relations: number of training edges of each relation by its label, None where not known.
    """

    def __init__(self, relations: Mapping[str, int | None]) -> None:
        known = {label: n for label, n in relations.items() if n is not None}
        self._rare = {label: n for label, n in known.items() if n < RARE}

    def check(self, model: Network, graph: AtomicGraph) -> None:
        """Look at a structure with its neighbor list; costs nothing where no relation is rare."""
        if not self._rare:
            return
        near = edge_vectors(graph).norm(dim=1) < model.cutoff  # a list may go beyond the cutoff
        classes = model.class_of_type.index_select(0, model.types(graph.atomic_numbers))
        scheme = model.router.scheme
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
