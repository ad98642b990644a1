"""Relations that are silent or have other weights, against models made that way."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import pytest
import torch
from torch import Tensor

import structures
from hermnet.analysis.interventions import exchanged, switched_off
from hermnet.analysis.served import relations_of
from hermnet.checks import random_potential
from hermnet.derivatives import edge_vectors
from hermnet.graph import AtomicGraph, collate
from hermnet.model_options import ModelOptions
from hermnet.neighbors import graph_from_atoms
from hermnet.network import Network

ELEMENTS = (8, 1, 6, 22, 56)
SMALL = {"n_channels": 4, "n_radial": 5, "cutoff": 2.8, "dtype": "float64"}
HYBRID = {"default": {"name": "painn"}, "O": {"name": "schnet"}}
GRAPH = collate(
    [graph_from_atoms(atoms, 2.8) for atoms in (structures.molecule(), structures.crystal())]
)


def model_of(relations: str, n_layers: int = 1, **options: object) -> Network:
    return random_potential(
        ModelOptions(**{**SMALL, "relations": relations, "n_layers": n_layers, **options}), ELEMENTS
    )


@torch.no_grad()
def features(model: Network, change: AbstractContextManager[None] | None = None) -> Tensor:
    graph: AtomicGraph = GRAPH
    with change or nullcontext():
        return model.features(edge_vectors(graph), model.indices(graph))


@pytest.mark.parametrize(
    ("relations", "options"),
    [
        ("none", {}),
        ("vertex", {}),
        ("vertex", {"subnet": HYBRID}),
        ("pair", {"sharing": "basis:2"}),
        ("triadic", {"heterogeneity": "filters"}),
    ],
)
def test_the_changes_of_all_relations_make_the_whole(relations: str, options: dict[str, object]):
    model = model_of(relations, **options)
    whole, start = features(model), features(model_of(relations, 0, **options))
    start[:, 0] = model.embedding(model.types(GRAPH.atomic_numbers)).detach()
    changes = [whole - features(model, switched_off(model, one)) for one in relations_of(model)]
    assert sum(bool((change != 0).any()) for change in changes) > len(changes) / 2
    torch.testing.assert_close(torch.stack(changes).sum(dim=0), whole - start)
    assert torch.equal(features(model), whole), "and nothing stays of it"


def test_an_element_without_its_relation_keeps_what_it_began_with():
    model = model_of("vertex", n_layers=2)
    (oxygen,) = [one for one in relations_of(model) if one.label == "O"]
    found = features(model, switched_off(model, oxygen))
    is_oxygen = GRAPH.atomic_numbers == 8
    assert (found[is_oxygen, 1:] == 0).all()
    torch.testing.assert_close(
        found[is_oxygen, 0], model.embedding.weight[:1].detach().expand(int(is_oxygen.sum()), -1)
    )
    assert (found[~is_oxygen, 1:] != 0).any()


@pytest.mark.parametrize("sharing", ["independent", "basis:2"])
def test_weights_are_exchanged_in_one_direction(sharing: str):
    model, other = (model_of("vertex", n_layers=2, sharing=sharing) for _ in range(2))
    with torch.no_grad():
        for name, weight in other.named_parameters():
            if name.endswith((".stack.weight", ".mixing")):
                weight[0] = weight[2]
    oxygen, _, carbon, *_ = relations_of(model)
    assert (oxygen.label, carbon.label) == ("O", "C")
    before = features(model)
    torch.testing.assert_close(features(model, exchanged(model, oxygen, carbon)), features(other))
    assert not torch.allclose(features(model, exchanged(model, carbon, oxygen)), features(other))
    assert torch.equal(features(model), before)


def test_both_sides_of_a_triplet_are_exchanged():
    model, other = (model_of("triadic", n_layers=2) for _ in range(2))
    labels = list(model.relation_labels)
    mixed, alike = labels.index("O-*-H"), labels.index("C-*-C")
    with torch.no_grad():
        for name, weight in other.named_parameters():
            if name.endswith(".stack.weight") and len(weight) == len(labels):
                weight[mixed] = weight[alike]
            elif name.endswith(".stack.weight"):
                weight[2 * mixed] = weight[2 * alike]
                weight[2 * mixed + 1] = weight[2 * alike]  # its second side was never trained
    relations = relations_of(model)
    change = exchanged(model, relations[mixed], relations[alike])
    torch.testing.assert_close(features(model, change), features(other))
