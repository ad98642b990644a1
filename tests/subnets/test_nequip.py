"""The NequIP-like sub-network keeps the contract and agrees with e3nn."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from e3nn import o3

import structures
from hermnet import InputError
from hermnet.checks import random_potential, random_rotation
from hermnet.derivatives import edge_vectors
from hermnet.grouped import tracing
from hermnet.model_options import ModelOptions
from hermnet.neighbors import graph_from_atoms
from hermnet.subnets.nequip import TensorProduct
from hermnet.testing import SubnetContract

N_CHANNELS = 4


class TestNequIP(SubnetContract):
    subnet = {"name": "nequip", "radial_hidden": 8}  # noqa: RUF012


def options(lmax: int, **subnet: int) -> ModelOptions:
    return ModelOptions(
        subnet={"name": "nequip", **subnet},
        lmax=lmax,
        n_channels=N_CHANNELS,
        n_layers=1,
        cutoff=3.0,
        dtype="float64",
    )


@pytest.fixture
def _float64() -> Iterator[None]:
    """Without it e3nn's Wigner matrices are exact to 1e-7 only."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("_float64")
@pytest.mark.parametrize("lmax", [0, 1, 2, 3])
@pytest.mark.parametrize("improper", [False, True])
def test_features_turn_as_wigner_matrices_say(lmax, improper):
    potential = random_potential(options(lmax), (1, 6, 8))
    graph = graph_from_atoms(structures.molecule(), potential.cutoff)
    (expansion,) = potential.indices(graph).expansions
    (layer,) = potential.router.layers[0]
    vectors = edge_vectors(graph)
    x = torch.randn(graph.n_atoms, (lmax + 1) ** 2, N_CHANNELS, dtype=torch.float64)
    rotation = -random_rotation() if improper else random_rotation()
    wigner = o3.Irreps.spherical_harmonics(lmax).D_from_matrix(rotation)

    before = layer(x, potential.router.geometry(expansion, vectors))
    after = layer(wigner @ x, potential.router.geometry(expansion, vectors @ rotation.T))
    assert before.shape == x.shape
    assert all(
        before[:, degree**2 : (degree + 1) ** 2].abs().max() > 1e-3 for degree in range(lmax + 1)
    )
    torch.testing.assert_close(after, wigner @ before, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("lmax", [0, 1, 2, 3])
def test_product_is_that_of_e3nn(lmax):
    n_edges, n_rows = 5, (lmax + 1) ** 2
    product = TensorProduct(lmax).double()
    harmonics = o3.Irreps.spherical_harmonics(lmax)
    features = o3.Irreps([(N_CHANNELS, ir) for _, ir in harmonics])
    reference = o3.TensorProduct(
        features,
        harmonics,
        features,
        [(*path, "uvu", True) for path in product.paths],
        internal_weights=False,
        shared_weights=False,
    ).double()
    x = torch.randn(n_edges, n_rows, N_CHANNELS, dtype=torch.float64)
    y = torch.randn(n_edges, n_rows, dtype=torch.float64)
    weights = torch.randn(n_edges, len(product.paths), N_CHANNELS, dtype=torch.float64)

    expected = reference(by_channel(x, lmax), y, weights.flatten(1))
    result = by_channel(product(x, y, weights), lmax)
    torch.testing.assert_close(result, expected, rtol=1e-6, atol=1e-6)
    with tracing():  # small products are sums there
        traced = by_channel(product(x, y, weights), lmax)
    torch.testing.assert_close(traced, result, rtol=1e-12, atol=1e-12)


def by_channel(x: torch.Tensor, lmax: int) -> torch.Tensor:
    """Our layout, components before channels, as e3nn's (n_edges, dimension)."""
    parts = x.split([2 * degree + 1 for degree in range(lmax + 1)], dim=1)
    return torch.cat([part.transpose(1, 2).flatten(1) for part in parts], dim=1)


@pytest.mark.parametrize(("lmax", "n_paths"), [(0, 1), (1, 4), (2, 11), (3, 23)])
def test_paths_conserve_parity(lmax, n_paths):
    paths = TensorProduct(lmax).paths
    assert len(paths) == n_paths
    assert all(sum(path) % 2 == 0 for path in paths)


def test_messages_vanish_at_the_cutoff_with_the_envelope():
    potential = random_potential(options(2), (1, 6, 8))
    graph = graph_from_atoms(structures.molecule(), potential.cutoff)
    (expansion,) = potential.indices(graph).expansions
    (layer,) = potential.router.layers[0]
    lengths = torch.tensor([3.0 - 1e-3, 3.0 - 1e-4, 3.0], dtype=torch.float64)
    found = []
    for length in lengths:
        vectors = edge_vectors(graph)
        vectors = vectors / vectors.norm(dim=1, keepdim=True) * length
        relational = potential.router.geometry(expansion, vectors)
        found.append(layer._path_weights(relational, len(layer.product.paths)).abs().max())
    assert found[0] > 1e-9
    assert found[1] < 0.011 * found[0]  # as the envelope, quadratic in the distance to the cutoff
    assert found[2] == 0


@pytest.mark.parametrize("wrong", [{"radial_hidden": 0}, {"radial_layers": 0}])
def test_an_empty_radial_network_is_refused(wrong):
    with pytest.raises(InputError, match="radial_hidden and radial_layers have to be at least 1"):
        random_potential(options(1, **wrong), (1,))
