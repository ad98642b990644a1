"""Neighbor lists that last for many steps of a simulation: a little longer than the cutoff."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from hermnet.errors import InputError
from hermnet.graph import AtomicGraph
from hermnet.neighbors import with_neighbors


class SkinNeighbors:
    """Links a moving structure, searching anew only when an edge could be missing.

    The search goes to ``cutoff + skin``. With F the change of the cell since then and u_i what an
    atom has moved besides following it, a vector is now ``d' = d F + u_j - u_i``, so a pair that is
    within the cutoff now was at most ``(cutoff + 2 max |u_i|) / (1 - |F - 1|)`` apart. As long as
    that is less than was searched, no edge is missing. Edges beyond the cutoff do no harm:
    envelopes are zero there.

    Args:
        cutoff: in A.
        skin: in A; a larger one is searched for less often and has more edges.
        device: where to search, and where the structures go for that; None for where they are.

    Raises:
        InputError: for a skin that is negative.
    """

    def __init__(
        self, cutoff: float, skin: float = 0.5, device: torch.device | str | None = None
    ) -> None:
        if not skin >= 0:
            raise InputError(f"the skin must be a length in A, not {skin}")
        self.cutoff = cutoff
        self.skin = skin
        self.device = device
        self.n_searches = 0
        self._last: AtomicGraph | None = None

    def __call__(self, graph: AtomicGraph) -> AtomicGraph:
        """The structure with its edges, those within the cutoff and some beyond.

        Args:
            graph: one structure; edges that it has are replaced.

        Raises:
            InputError: as `with_neighbors`.
        """
        if self.device is not None:
            graph = graph.to(self.device)
        if self._last is None or not self._lasts(self._last, graph):
            self._last = with_neighbors(graph, self.cutoff + self.skin)
            self.n_searches += 1
            return self._last
        last = self._last
        return replace(graph, centers=last.centers, neighbors=last.neighbors, shifts=last.shifts)

    def _lasts(self, last: AtomicGraph, graph: AtomicGraph) -> bool:
        """Whether no edge can be missing in the list of `last`."""
        same = torch.equal(last.atomic_numbers, graph.atomic_numbers)
        if not same or not torch.equal(last.pbc, graph.pbc):
            return False
        change = _deformation(last.cell[0], graph.cell[0], graph.pbc[0])
        if change is None:
            return False
        moved = (graph.positions - last.positions @ change).norm(dim=1).max()
        strain = torch.linalg.matrix_norm(change - torch.eye(3).to(change), ord=2)
        reach = (self.cutoff + 2 * moved) / (1 - strain) if strain < 1 else torch.inf
        return bool(reach < self.cutoff + self.skin)


def _deformation(before: Tensor, after: Tensor, pbc: Tensor) -> Tensor | None:
    """The matrix (3, 3) that takes the periodic lattice vectors to what they are now.

    None where they do not span space and have changed: a slab whose cell changes is searched anew.
    """
    if torch.equal(before, after):
        return torch.eye(3).to(before)
    if not bool(pbc.all()):
        return None
    solution: Tensor = torch.linalg.solve(before, after)
    return solution
