from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

import structures
from hermnet.checks import random_potential
from hermnet.elements import symbol
from hermnet.graph import AtomicGraph, collate
from hermnet.model_options import ModelOptions
from hermnet.neighbors import graph_from_atoms
from hermnet.potential import Potential, Prediction
from hermnet.run.evaluation import evaluate_split
from hermnet.run.force_errors import ForceErrors, GroupError

ELEMENTS = (1, 6, 8, 22, 56)
CUTOFF = 2.8
LONE = structures.molecule()[[2]]  # an oxygen without neighbors
HYBRID = {"default": "schnet", "O": "painn"}


def make(relations: str, subnet: object = "painn") -> Potential:
    options = ModelOptions(
        subnet=subnet,
        relations=relations,
        n_channels=4,
        n_layers=1,
        n_radial=4,
        cutoff=CUTOFF,
        dtype="float64",
    )
    return random_potential(options, ELEMENTS)


def batch(seed: int) -> tuple[AtomicGraph, Prediction]:
    """Frames with random labels, a few of them missing, and a prediction that has nothing to do."""
    frames = [structures.molecule(seed), structures.crystal(seed), LONE]
    graph = collate([graph_from_atoms(frame, CUTOFF) for frame in frames])
    generator = torch.Generator().manual_seed(seed)
    labels, forces = torch.randn(2, graph.n_atoms, 3, generator=generator, dtype=torch.float64)
    labels[0] = torch.nan  # no label at all
    labels[3, 1] = torch.nan  # one component
    return replace(graph, forces=labels), prediction(graph, forces)


def prediction(graph: AtomicGraph, forces: Tensor) -> Prediction:
    energies = torch.zeros(graph.n_atoms, dtype=torch.float64)
    return Prediction(energies[: graph.n_systems], energies, forces)


def receivers(graph: AtomicGraph, relations: str) -> set[tuple[str, int]]:
    """Relation and atom, by a loop over atoms and edges."""
    names = [symbol(z) for z in graph.atomic_numbers.tolist()]
    if relations == "vertex":  # an atom receives in the relation of its element, alone or not
        return set(zip(names, range(len(names)), strict=True))
    ends = zip(graph.neighbors.tolist(), graph.centers.tolist(), strict=True)
    return {(f"{names[j]}-{names[i]}", i) for j, i in ends}


def by_hand(
    batches: list[tuple[AtomicGraph, Prediction]], relations: str
) -> dict[str, dict[str, GroupError]]:
    found: dict[str, dict[str, list[np.ndarray]]] = {
        "elements": defaultdict(list),
        "relations": defaultdict(list),
    }
    for graph, predicted in batches:
        errors = 1000 * np.abs(predicted.forces.numpy() - graph.forces.numpy())
        for atom, z in enumerate(graph.atomic_numbers.tolist()):
            found["elements"][symbol(z)].append(errors[atom])
        for label, atom in receivers(graph, relations):
            found["relations"][label].append(errors[atom])
    return {
        kind: {
            label: GroupError(
                pytest.approx(np.nanmean(rows), rel=1e-12),
                sum(not np.isnan(row).all() for row in rows),
            )
            for label, rows in groups.items()
        }
        for kind, groups in found.items()
    }


@pytest.mark.parametrize(
    ("relations", "subnet"), [("vertex", "painn"), ("pair", "painn"), ("vertex", HYBRID)]
)
def test_against_a_loop_over_atoms_and_edges(relations: str, subnet: object):
    potential = make(relations, subnet)
    sums, batches = ForceErrors(potential), [batch(0), batch(1)]
    for graph, predicted in batches:
        sums.update(predicted, graph)
    found = sums.result()
    assert found == by_hand(batches, relations)
    assert set(found["elements"]) == {"H", "C", "O", "Ti", "Ba"}
    if relations == "vertex":
        assert found["relations"] == found["elements"]
    else:
        assert found["relations"]["H-O"].n_atoms < found["elements"]["O"].n_atoms


def test_without_labels_there_is_nothing():
    sums = ForceErrors(make("vertex"))
    graph, predicted = batch(0)
    sums.update(predicted, replace(graph, forces=None))
    sums.update(predicted, replace(graph, forces=torch.full_like(graph.forces, torch.nan)))
    assert sums.result() == {}


def test_an_evaluation_finds_them():
    potential = make("pair")
    graph, _ = batch(2)
    found = evaluate_split(potential, [graph])
    forces = potential(graph).forces.detach()
    assert found.forces_by == by_hand([(graph, prediction(graph, forces))], "pair")
    assert found.errors["forces_mae"] == pytest.approx(
        1000 * np.nanmean(np.abs(forces.numpy() - graph.forces.numpy()))
    )
