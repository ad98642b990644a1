"""How the time of a model is shared by its relations."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from hermnet.analysis.restriction import restricted
from hermnet.analysis.served import Relation
from hermnet.data.progress import tracked
from hermnet.derivatives import edge_vectors
from hermnet.graph import AtomicGraph
from hermnet.network import Indices, Network

_ROUNDS = 10


def time_shares(model: Network, graph: AtomicGraph, relations: Sequence[Relation]) -> list[float]:
    """The share of each relation in the time of features and their slopes.

    Each relation runs alone, with the edges of the others left out, and all run together. A run
    takes a constant and what its relations cost, so that these runs tell the constant, which is
    subtracted. Of several rounds the fastest counts, in processor time (on a GPU in time).

    Args:
        model: the model.
        graph: a batch that is typical, on the model's device.
        relations: whose shares to measure; together they have 1.
    """
    indices, vectors = model.indices(graph), edge_vectors(graph).to(model.dtype)
    sets = [relations, *([relation] for relation in relations)]
    only = [_only(indices, chosen) for chosen in sets]
    best = [float("inf")] * len(only)
    for _ in tracked(range(_ROUNDS), _ROUNDS, "timing relations"):
        for k, one in enumerate(only):
            best[k] = min(best[k], _seconds(model, vectors, one))
    return shares(best[0], best[1:])


def shares(together: float, alone: Sequence[float]) -> list[float]:
    """Each run's share of what they cost beside a constant that every run has.

    Args:
        together: seconds of all at once: the constant and all costs.
        alone: seconds of each: the constant and its cost.
    """
    constant = (sum(alone) - together) / max(len(alone) - 1, 1)
    constant = min(max(constant, 0.0), min(alone, default=0.0))
    costs = [seconds - constant for seconds in alone]
    total = sum(costs)
    return [cost / total if total else float("nan") for cost in costs]


def _only(indices: Indices, relations: Sequence[Relation]) -> Indices:
    return replace(
        indices,
        expansions=[
            restricted(expansion, [r.row for r in relations if r.part == part])
            for part, expansion in enumerate(indices.expansions)
        ],
    )


def _seconds(model: Network, vectors: Tensor, indices: Indices) -> float:
    on_gpu = vectors.device.type == "cuda"
    now = time.perf_counter if on_gpu else time.process_time
    start = now()
    with torch.enable_grad():
        leaf = vectors.detach().requires_grad_()
        total = model.features(leaf, indices).sum()
        torch.autograd.grad(total, leaf, materialize_grads=True, allow_unused=True)
    if on_gpu:
        torch.cuda.synchronize(vectors.device)
    return now() - start
