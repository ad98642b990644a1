"""RMConv keeps the contract of a sub-network, and its angular term carries an angle."""

from __future__ import annotations

import math

import pytest
import torch
from ase import Atoms

from hermnet.checks import predict, random_potential
from hermnet.derivatives import edge_vectors
from hermnet.errors import InputError
from hermnet.model_options import ModelOptions
from hermnet.neighbors import graph_from_atoms
from hermnet.potential import Potential
from hermnet.testing import SubnetContract

CUTOFF = 1.5  # between the arms of the chains and the distance of their ends
ANGLES = (95.0, 120.0, 140.0, 175.0)  # degrees


class TestRMConv(SubnetContract):
    subnet = "rmconv"


def test_epsilon_has_to_be_positive():
    with pytest.raises(InputError, match=r"model\.subnet\.epsilon: 0\.0 is not a positive number"):
        random_potential(ModelOptions(subnet={"name": "rmconv", "epsilon": 0.0}), (1, 8))


def chain(angle: float, symbols: str = "HOC") -> Atoms:
    """Three atoms, the second in the middle, 1.1 A from both others."""
    turn = math.radians(angle)
    ends = [(1.1, 0, 0), (0, 0, 0), (1.1 * math.cos(turn), 1.1 * math.sin(turn), 0)]
    return Atoms(symbols, positions=ends)


def one_layer(subnet: str, relations: str) -> Potential:
    options = ModelOptions(
        subnet=subnet,
        relations=relations,
        n_channels=8,
        n_layers=1,
        cutoff=CUTOFF,
        dtype="float64",
    )
    return random_potential(options, (1, 6, 8))


@pytest.mark.parametrize("relations", ["none", "vertex", "triadic"])
@pytest.mark.parametrize("symbols", ["HOC", "HOH"])
def test_energy_after_one_layer_depends_on_the_angle(relations, symbols):
    structures = [chain(angle, symbols) for angle in ANGLES]
    energy = predict(one_layer("rmconv", relations), *structures).atomic_energies.view(-1, 3)
    assert energy[:, 1].diff().abs().min() > 1e-6
    # the ends have one neighbor each and see no angle; neither does a sub-network without vectors
    torch.testing.assert_close(energy[1:, [0, 2]], energy[:-1, [0, 2]], rtol=1e-12, atol=1e-12)
    without = predict(one_layer("schnet", relations), *structures).energy
    torch.testing.assert_close(without, without[:1].expand(4), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("relations", ["none", "triadic"])
def test_angular_scalar_is_linear_in_the_cosine(relations):
    potential = one_layer("rmconv", relations)
    (layer,) = potential.router.layers[0]
    with torch.no_grad():
        for weight in layer.update_in.parameters():
            weight[:, 8:16] = 0.0  # the coefficients no longer see |v'|, which knows the angle too
    changes = [center_change(potential, chain(angle)) for angle in ANGLES]
    cosines = torch.tensor(ANGLES, dtype=torch.float64).deg2rad().cos()
    slopes = torch.stack(changes).diff(dim=0) / cosines.diff().unsqueeze(1)
    assert slopes.abs().max() > 1e-4
    torch.testing.assert_close(slopes[1:], slopes[:-1], rtol=1e-9, atol=1e-12)


def center_change(potential: Potential, atoms: Atoms) -> torch.Tensor:
    """What one layer adds to the scalars of atom 1, in its copy with two neighbors."""
    graph = graph_from_atoms(atoms, CUTOFF)
    indices = potential.indices(graph)
    (expansion,) = indices.expansions
    relational = potential.router.geometry(expansion, edge_vectors(graph))
    x = torch.nn.functional.pad(potential.embedding(indices.types).unsqueeze(1), (0, 0, 0, 3))
    (layer,) = potential.router.layers[0]
    with torch.no_grad():
        delta = layer(x, relational)[:, 0]
    rows = torch.bincount(expansion.centers, minlength=len(delta))
    return delta[(expansion.receivers.atom == 1) & (rows == 2)][0]
