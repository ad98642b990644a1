"""Leaving out relations that a batch lacks changes no number."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from ase import Atoms

from hermnet.checks import random_potential
from hermnet.graph import AtomicGraph, collate
from hermnet.in_use import relations_in_use
from hermnet.model_options import ModelOptions
from hermnet.neighbors import graph_from_atoms
from hermnet.potential import Potential, Prediction

OPTIONS = ModelOptions(
    sharing="basis:3", n_channels=4, n_layers=2, n_radial=4, cutoff=3.0, dtype="float64"
)
ELEMENTS = (1, 3, 6, 7, 8, 9, 16)
WATER = Atoms("OH2", [(0, 0, 0), (0.8, 0.6, 0), (-0.8, 0.6, 0)])
HYDROGEN = Atoms("H3", [(0, 0, 0), (0.8, 0.6, 0), (9, 9, 9)])  # one relation, an atom alone


def graph_of(*frames: Atoms) -> AtomicGraph:
    return collate([graph_from_atoms(atoms, OPTIONS.cutoff) for atoms in frames])


GRAPHS = [
    pytest.param((WATER,), id="two"),
    pytest.param((HYDROGEN,), id="one"),
    pytest.param((Atoms("F"),), id="no edge"),
]


def everything(potential: Potential, graph: AtomicGraph) -> list[torch.Tensor]:
    """Energies, forces, and the gradients of a loss on both by all weights."""
    found: Prediction = potential(graph)
    loss = found.forces.square().sum() + found.energy.square().sum()
    weights = list(potential.parameters())
    gradients = torch.autograd.grad(loss, weights, materialize_grads=True, allow_unused=True)
    return [found.energy, found.forces, *gradients]


def keeping_all(potential: Potential, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(potential, "lean_indices", potential.indices)


def assert_same(found: list[torch.Tensor], expected: list[torch.Tensor]) -> None:
    for one, other in zip(found, expected, strict=True):
        scale = float(other.detach().abs().max().clamp(min=1.0))
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12 * scale)


@pytest.mark.parametrize("frames", GRAPHS)
@pytest.mark.parametrize("relations", ["vertex", "triadic"])
@pytest.mark.parametrize("subnet", ["painn", "schnet", "nequip", "rmconv"])
def test_numbers_are_those_of_all_relations(
    subnet: str, relations: str, frames: tuple[Atoms, ...], monkeypatch: pytest.MonkeyPatch
):
    options = replace(OPTIONS, subnet=subnet, relations=relations)
    potential, graph = random_potential(options, ELEMENTS), graph_of(*frames)
    found = everything(potential, graph)
    keeping_all(potential, monkeypatch)
    assert_same(found, everything(potential, graph))


@pytest.mark.parametrize("heterogeneity", ["filters", "update"])
def test_layers_without_relations_stay_as_they_are(
    heterogeneity: str, monkeypatch: pytest.MonkeyPatch
):
    potential = random_potential(replace(OPTIONS, heterogeneity=heterogeneity), ELEMENTS)
    graph = graph_of(WATER)
    found = everything(potential, graph)
    keeping_all(potential, monkeypatch)
    assert_same(found, everything(potential, graph))


def test_two_sub_networks(monkeypatch: pytest.MonkeyPatch):
    subnet = {"default": "painn", "H": "schnet", "O": "schnet", "S": "schnet"}
    potential = random_potential(replace(OPTIONS, subnet=subnet), ELEMENTS)
    graph = graph_of(WATER)
    found = everything(potential, graph)
    keeping_all(potential, monkeypatch)
    assert_same(found, everything(potential, graph))


def test_only_what_is_there_has_a_segment():
    potential = random_potential(replace(OPTIONS, relations="triadic"), ELEMENTS)
    (whole,) = potential.indices(graph_of(WATER)).expansions
    found = relations_in_use(whole)
    labels = [potential.relation_labels[k] for k in found.receivers.relation.tolist()]
    assert labels == ["H-*-H", "H-*-O", "O-*-O"]
    assert found.slots.tolist() == found.sources.relation.tolist()
    assert len(found.offsets) == 2 * len(labels) < len(whole.offsets)
    assert found.offsets[-1] == len(found.edge)


@pytest.mark.parametrize("sharing", ["independent", "shared"])
def test_weights_that_are_not_mixed_keep_their_place(sharing: str):
    potential = random_potential(replace(OPTIONS, sharing=sharing), ELEMENTS)
    (union,) = potential.lean_indices(graph_of(WATER)).expansions
    assert union.slots is None
    assert len(union.offsets) == len(ELEMENTS)
