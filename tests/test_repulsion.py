"""The ZBL repulsion against its formula, written out for one pair."""

from __future__ import annotations

import math

import pytest
import torch
from ase import Atoms
from ase.data import covalent_radii
from ase.units import _e, _eps0

from hermnet.checks import finite_difference_forces, predict, random_potential
from hermnet.model_options import ModelOptions
from hermnet.repulsion import ZBL

ELEMENTS = (8, 1, 26)
COULOMB = _e / (4 * math.pi * _eps0) * 1e10  # e^2 / (4 pi eps0) in eV A
BOHR = 0.529177210903  # A


def pair_energy(z1: int, z2: int, r: float) -> float:
    """Of two nuclei, eV; the universal potential of Ziegler, Biersack and Littmark (1985)."""
    x = r / (0.8854 * BOHR / (z1**0.23 + z2**0.23))
    screening = (
        0.18175 * math.exp(-3.1998 * x)
        + 0.50986 * math.exp(-0.94229 * x)
        + 0.28022 * math.exp(-0.4029 * x)
        + 0.02817 * math.exp(-0.20162 * x)
    )
    u = r / (covalent_radii[z1] + covalent_radii[z2])
    fade = 1 - 28 * u**6 + 48 * u**7 - 21 * u**8 if u < 1 else 0.0
    return COULOMB * z1 * z2 / r * screening * fade


def zbl_energies(z1: int, z2: int, r: float, cutoff: float = 5.0) -> torch.Tensor:
    types = torch.tensor([ELEMENTS.index(z1), ELEMENTS.index(z2)])
    lengths = torch.tensor([r, r], dtype=torch.float64)
    return ZBL(ELEMENTS, cutoff)(lengths, types, torch.tensor([0, 1]), torch.tensor([1, 0]))


@pytest.mark.parametrize(
    ("z1", "z2", "r"), [(8, 1, 0.5), (8, 8, 0.3), (1, 26, 1.1), (26, 26, 0.05)]
)
def test_a_pair_has_the_energy_of_the_formula(z1: int, z2: int, r: float):
    energies = zbl_energies(z1, z2, r)
    expected = pair_energy(z1, z2, r)
    assert expected > 0.01
    assert energies.tolist() == pytest.approx([expected / 2, expected / 2], rel=1e-6)


def test_it_ends_at_the_sum_of_the_radii_or_at_the_cutoff():
    end = covalent_radii[8] + covalent_radii[1]
    assert zbl_energies(8, 1, end - 0.01).sum() > 0
    assert (zbl_energies(8, 1, end + 1e-6) == 0).all()
    assert (zbl_energies(26, 26, 1.01, cutoff=1.0) == 0).all()
    assert zbl_energies(26, 26, 0.9, cutoff=1.0).sum() > 0


def test_a_potential_adds_it_and_it_pushes_atoms_apart():
    options = ModelOptions(n_channels=4, n_layers=1, cutoff=3.0, dtype="float64")
    bare = random_potential(options, ELEMENTS)
    with_zbl = random_potential(ModelOptions(**{**vars(options), "zbl": True}), ELEMENTS)
    with_zbl.load_state_dict(bare.state_dict())
    atoms = Atoms("OH", positions=[(0, 0, 0), (0.3, 0.1, 0.2)])
    distance = atoms.get_distance(0, 1)
    without, added = predict(bare, atoms), predict(with_zbl, atoms)
    gained = float((added.energy - without.energy).detach())
    assert gained == pytest.approx(pair_energy(8, 1, distance), rel=1e-6)
    push = (added.forces - without.forces).detach()
    direction = torch.tensor(atoms.get_distance(0, 1, vector=True)) / distance
    assert push[1] @ direction > 1.0
    torch.testing.assert_close(push[0], -push[1])
    torch.testing.assert_close(push[1], (push[1] @ direction) * direction)
    expected = finite_difference_forces(with_zbl, atoms)
    torch.testing.assert_close(added.forces, expected, rtol=1e-6, atol=1e-6)


def test_its_gradient_is_that_of_its_energies():
    types, ends = torch.tensor([1, 0]), (torch.tensor([0, 1]), torch.tensor([1, 0]))
    vectors = torch.tensor([[0.3, 0.4, 0.1], [-0.3, -0.4, -0.1]], dtype=torch.float64)
    weights = torch.tensor([1.0, 3.0], dtype=torch.float64)
    zbl = ZBL(ELEMENTS, 5.0)
    d = vectors.clone().requires_grad_()
    expected = zbl(d.norm(dim=1), types, *ends)
    for given in (None, weights):
        total = expected.sum() if given is None else expected @ given
        (slope,) = torch.autograd.grad(total, d, retain_graph=True)
        energies, found = zbl.with_gradient(vectors, types, *ends, given)
        torch.testing.assert_close(energies, expected.detach())
        torch.testing.assert_close(found, slope)
        assert not found.requires_grad
    _, again = zbl.with_gradient(d, types, *ends)
    assert torch.autograd.grad(again.square().sum(), d)[0].abs().max() > 0
