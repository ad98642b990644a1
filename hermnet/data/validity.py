"""What no structure may be: empty, not finite, or with two atoms at one place."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np

from hermnet.elements import symbol
from hermnet.errors import InputErrors
from hermnet.graph import LABELS, AtomicGraph

CLOSEST = 1e-3  # A; two atoms nearer than this are one atom written twice
_SHOWN = 5  # problems of one kind that are worth reading


def check_values(graph: AtomicGraph, name: str, masked: bool = False) -> list[str]:
    """Problems of positions, cell and labels, one line each.

    Args:
        graph: one structure; it needs no edges.
        name: of the frame, for the messages.
        masked: whether a label may be NaN throughout, for missing.
    """
    problems = [] if graph.n_atoms else [f"{name} has no atoms"]
    for key in ("positions", "cell", *LABELS):
        tensor = getattr(graph, key)
        if tensor is None or np.isfinite(values := tensor.numpy()).all():
            continue
        if not (masked and key in LABELS and np.isnan(values).all()):
            problems.append(f"{name}: {key} with NaN or infinity")
    has_stress = graph.stress is not None and np.isfinite(graph.stress.numpy()).any()
    if has_stress and np.linalg.det(graph.cell[0].numpy()) == 0:
        problems.append(f"{name}: a stress, but no cell with a volume")
    return problems


def check_properties(graph: AtomicGraph, name: str, n_scalars: int) -> list[str]:
    """Problems of scalars and dipole; NaN is a label that the frame lacks.

    Args:
        graph: one structure.
        name: of the frame, for the messages.
        n_scalars: how many scalars the data module has names for.
    """
    problems = []
    for key, n_columns in (("scalars", n_scalars), ("dipole", 3)):
        values = getattr(graph, key)
        if values is None:
            continue
        if tuple(values.shape) != (1, n_columns):
            shape = f"{tuple(values.shape)} instead of {(1, n_columns)}"
            problems.append(f"{name}: {key} have the shape {shape}")
        elif bool(values.isinf().any()):
            problems.append(f"{name}: {key} with infinity")
    return problems


def check_linked(graph: AtomicGraph, name: str) -> list[str]:
    """A line if two atoms of a structure with edges are at one place."""
    if graph.n_edges == 0:
        return []
    # NumPy, since a call of torch costs as much as the work on a small structure.
    positions = graph.positions.numpy()
    ends = positions.take(graph.neighbors.numpy(), axis=0)
    if graph.pbc.numpy().any():
        ends += graph.shifts.numpy() @ graph.cell[0].numpy()
    vectors = ends - positions.take(graph.centers.numpy(), axis=0)  # (n_edges, 3)
    squares = np.einsum("ij,ij->i", vectors, vectors)
    edge = int(squares.argmin())
    distance = math.sqrt(squares[edge])
    if distance >= CLOSEST:
        return []
    pair = [int(graph.centers[edge]), int(graph.neighbors[edge])]
    names = " and ".join(f"{i} ({symbol(int(graph.atomic_numbers[i]))})" for i in pair)
    return [f"{name}: atoms {names} are {distance:.1g} A apart"]


def warn_of_loners(n_alone: int, n_atoms: int, cutoff: float) -> None:
    """A warning if atoms have no neighbor, which is allowed but seldom meant."""
    if n_alone:
        warnings.warn(
            f"{n_alone} of {n_atoms} atoms have no neighbor within the cutoff of {cutoff:g} A",
            stacklevel=3,
        )


def refuse(problems: Sequence[str]) -> None:
    """Raise `InputErrors` of the problems, the first few of many; without any do nothing."""
    if len(problems) > _SHOWN:
        problems = [*problems[:_SHOWN], f"... and {len(problems) - _SHOWN} more of this kind"]
    if problems:
        raise InputErrors(problems)
