from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hermnet.analysis.served import relations_of
from hermnet.analysis.weights import by_interaction, likeness, own_parameters
from hermnet.checks import random_potential
from hermnet.model_options import ModelOptions
from hermnet.network import Network

ELEMENTS = (1, 6, 8)
SMALL = {"n_channels": 4, "n_layers": 2, "n_radial": 5, "dtype": "float64"}


def model_of(**options: object) -> Network:
    return random_potential(ModelOptions(**{**SMALL, **options}), ELEMENTS)


@pytest.mark.parametrize("relations", ["none", "vertex", "pair", "triadic"])
def test_every_weight_of_independent_relations_is_somebodys(relations: str):
    model = model_of(relations=relations)
    own = sum(own_parameters(model, relation) for relation in relations_of(model))
    assert own == sum(p.numel() for p in model.router.layers.parameters())


def test_what_relations_have_in_common_is_nobodys():
    bases = model_of(sharing="basis:2")
    own = [own_parameters(bases, relation) for relation in relations_of(bases)]
    assert own == [2 * 6 * 2] * 3  # two coefficients of each of six layers in two interactions
    shared = model_of(sharing="shared")
    assert [own_parameters(shared, relation) for relation in relations_of(shared)] == [0, 0, 0]
    filters = model_of(heterogeneity="filters")
    assert own_parameters(filters, relations_of(filters)[0]) == 2 * 6 * 12  # (n_radial + 1) x 3 c


def test_a_relation_with_a_sub_network_of_its_own_has_all_of_it():
    model = model_of(subnet={"default": {"name": "painn"}, "O": {"name": "schnet"}})
    (oxygen,) = [one for one in relations_of(model) if one.label == "O"]
    parts = model.router.parts(oxygen.part)
    assert own_parameters(model, oxygen) == sum(
        p.numel() for one in parts for p in one.parameters()
    )


def test_cosines_and_distances():
    model = model_of()
    with torch.no_grad():
        for name, weight in model.router.named_parameters():
            if name.endswith(".stack.weight"):
                weight[1] = 2 * weight[0]
                weight[2] = -weight[0]
    found = likeness(model, relations_of(model))
    assert len(found) == 12  # six layers in two interactions
    one = found[0, "filter"]
    np.testing.assert_allclose(one.cosine, [[1, 1, -1], [1, 1, -1], [-1, -1, 1]], atol=1e-12)
    np.testing.assert_allclose(one.distance[0], [0, math.sqrt(1 / 2.5), 2], atol=1e-6)
    first, second = by_interaction(found)
    np.testing.assert_allclose(first.cosine, second.cosine, atol=1e-12)


def test_layers_that_know_no_relations_are_left_out():
    model = model_of(heterogeneity="update")
    names = {name for _, name in likeness(model, relations_of(model))}
    assert names == {"mix", "update_in", "update_out"}
    assert not likeness(model_of(sharing="shared"), relations_of(model))


def test_different_sub_networks_are_not_compared():
    model = model_of(subnet={"default": {"name": "painn"}, "O": {"name": "schnet"}})
    found = likeness(model, relations_of(model))
    cosine = found[0, "filter"].cosine
    assert np.isfinite(cosine[:2, :2]).all()
    assert np.isnan(cosine[2]).all()
