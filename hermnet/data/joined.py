"""Sequences of graphs laid end to end, whatever labels each has."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from typing import final

import torch

from hermnet.data.fingerprint import digest
from hermnet.data.graphs import GraphSequence
from hermnet.graph import LABELS, AtomicGraph


@final
class JoinedGraphs(GraphSequence):
    """Several sequences one after the other; a label that a graph lacks is NaN, for missing.

    Args:
        parts: the sequences, at least one.
        labels: the labels that every graph is to have.
        weights: how often each graph of a part is drawn in an epoch, over the part's own weights.
    """

    def __init__(
        self, parts: Sequence[GraphSequence], labels: Sequence[str], weights: Sequence[float]
    ) -> None:
        plain = all(weight == 1 for weight in weights) and all(p.weights is None for p in parts)
        drawn = [
            weight * own
            for part, weight in zip(parts, weights, strict=True)
            for own in (part.weights or [1.0] * len(part))
        ]
        super().__init__(None if plain else drawn)
        self._parts = list(parts)
        self._labels = tuple(labels)
        self._ends = list(accumulate(len(part) for part in parts))

    def __len__(self) -> int:
        return self._ends[-1]

    @property
    def in_memory(self) -> bool:
        """See `GraphSequence.in_memory`."""
        return all(part.in_memory for part in self._parts)

    def fingerprint(self) -> str | None:
        """See `GraphSequence.fingerprint`."""
        found = [part.fingerprint() for part in self._parts]
        known = [word for word in found if word is not None]
        return digest(*known, *self._labels) if len(known) == len(found) else None

    def at(self, index: int) -> AtomicGraph:
        """See `GraphSequence.at`."""
        part = bisect_right(self._ends, index)
        graph = self._parts[part][index - (self._ends[part - 1] if part else 0)]
        return with_labels(graph, self._labels)


def with_labels(graph: AtomicGraph, labels: Sequence[str]) -> AtomicGraph:
    """The graph with exactly these labels; those that it lacks are NaN."""
    shapes = {"energy": (graph.n_systems,), "forces": (graph.n_atoms, 3)}
    changed: dict[str, torch.Tensor | None] = {}
    for name in LABELS:
        value = getattr(graph, name)
        if name not in labels:
            changed[name] = None
        elif value is None:
            shape = shapes.get(name, (graph.n_systems, 3, 3))
            changed[name] = torch.full(shape, torch.nan, dtype=torch.float64)
    return replace(graph, **changed)  # type: ignore[arg-type]  # tensors by field
