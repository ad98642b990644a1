from __future__ import annotations

import numpy as np
import pytest

from hermnet.properties.elastic_averages import Averages, directional_modulus


def isotropic(bulk: float, shear: float) -> np.ndarray:
    tensor = np.zeros((6, 6))
    tensor[:3, :3] = bulk - 2 * shear / 3
    np.fill_diagonal(tensor, [bulk + 4 * shear / 3] * 3 + [shear] * 3)
    return tensor


def test_an_isotropic_solid_has_one_value_of_each():
    means = Averages.of(isotropic(100.0, 40.0))
    assert means.bulk == pytest.approx((100.0, 100.0))
    assert means.shear == pytest.approx((40.0, 40.0))
    assert means.hill == pytest.approx((100.0, 40.0))
    assert means.anisotropy == pytest.approx(0.0, abs=1e-12)
    assert means.young == pytest.approx(9 * 100 * 40 / 340)
    assert means.poisson == pytest.approx((300 - 80) / (600 + 80))
    directions = np.random.default_rng(0).standard_normal((20, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    np.testing.assert_allclose(directional_modulus(isotropic(100.0, 40.0), directions), means.young)


def test_silicon_as_measured():
    # C11, C12, C44 = 165.7, 63.9, 79.6 GPa; Hopcroft et al., J. MEMS 19, 229 (2010), table I
    tensor = np.zeros((6, 6))
    tensor[:3, :3] = 63.9
    np.fill_diagonal(tensor, [165.7] * 3 + [79.6] * 3)
    along = np.array([(1, 0, 0), (1, 1, 0), (1, 1, 1)], dtype=float)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    np.testing.assert_allclose(directional_modulus(tensor, along), [130, 169, 188], atol=0.6)
    assert Averages.of(tensor).hill[0] == pytest.approx(97.8, abs=0.1)
