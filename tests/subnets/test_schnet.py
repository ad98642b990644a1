"""SchNet keeps the contract of a sub-network, and its filter is the published one."""

from __future__ import annotations

import pytest
import torch
from ase import Atoms

from hermnet import InputError
from hermnet.checks import random_potential
from hermnet.model_options import ModelOptions
from hermnet.neighbors import graph_from_atoms
from hermnet.testing import SubnetContract


class TestSchNet(SubnetContract):
    subnet = "schnet"


def dense(linear, x):
    """A layer of one relation, by hand."""
    (weight,) = linear.stack.parameters()
    matrix = weight[0]
    return x @ matrix[:-1] + matrix[-1] if linear.has_bias else x @ matrix


def ssp(x):
    return torch.log(0.5 * torch.exp(x) + 0.5)


def test_two_atoms_by_hand():
    options = ModelOptions(
        subnet={"name": "schnet", "n_filters": 3},
        relations="none",
        radial="gaussian",
        n_radial=6,
        n_channels=8,
        n_layers=1,
        cutoff=4.0,
        dtype="float64",
    )
    potential = random_potential(options, (1, 8))
    r = 1.3
    graph = graph_from_atoms(Atoms("OH", positions=[(0, 0, 0), (0, 0, r)]), cutoff=4.0)
    (layer,) = potential.router.layers[0]

    x = potential.embedding.weight.flip(0)  # O, H
    middles = torch.linspace(0, 4.0, 6, dtype=torch.float64)
    radial = torch.exp(-((r - middles) ** 2) / (2 * 0.8**2))
    envelope = 0.5 * (1 + torch.cos(torch.tensor(torch.pi * r / 4.0, dtype=torch.float64)))
    filters = dense(layer.filter_out, ssp(dense(layer.filter_in, radial))) * envelope
    received = dense(layer.source, x).flip(0) * filters  # each gets what the other sends
    x = x + dense(layer.update_out, ssp(dense(layer.update_in, received)))

    expected = potential.readout(x.unsqueeze(1))
    expected = potential.reference(expected, torch.tensor([1, 0]))
    result = potential(graph, forces=False).atomic_energies
    torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-12)


def test_filters_are_as_many_as_channels_by_default():
    potential = random_potential(ModelOptions(subnet="schnet", n_channels=12, n_layers=1), (1,))
    (layer,) = potential.router.layers[0]
    assert layer.source.stack().shape == (1, 12, 12)


def test_no_filters_are_refused():
    options = ModelOptions(subnet={"name": "schnet", "n_filters": 0})
    with pytest.raises(InputError, match=r"n_filters: 0 is too small; at least 1"):
        random_potential(options, (1,))
