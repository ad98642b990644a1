"""Structures with random labels and random predictions of them, for losses and errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

import structures
from hermnet.graph import AtomicGraph, collate
from hermnet.neighbors import graph_from_atoms
from hermnet.potential import Prediction


def frame(seed: int) -> tuple[AtomicGraph, Prediction]:
    """A structure of its own size with labels, and a prediction of it."""
    atoms = structures.mixture(seed, n_atoms=5 + 3 * seed)
    graph = graph_from_atoms(atoms)
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    labels = replace(
        graph, energy=random(1), forces=random(graph.n_atoms, 3), stress=random(1, 3, 3)
    )
    energies = random(graph.n_atoms)
    prediction = Prediction(
        energies.sum().view(1), energies, random(graph.n_atoms, 3), random(1, 3, 3)
    )
    return labels, prediction


def joined(frames: Sequence[tuple[AtomicGraph, Prediction]]) -> tuple[AtomicGraph, Prediction]:
    """The frames as one batch."""
    graphs, predictions = zip(*frames, strict=True)
    names = ("energy", "atomic_energies", "forces", "stress")
    parts = (torch.cat([getattr(p, name) for p in predictions]) for name in names)
    return collate(graphs), Prediction(*parts)
