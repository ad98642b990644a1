"""Radial bases against their formulas in plain Python floats."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from hermnet.errors import InputError
from hermnet.radial import RADIAL_BASES, make_radial_basis

CUTOFF, N = 4.2, 6
LENGTHS = (0.05, 0.7, 1.3, 2.9, 4.0, 4.2)
DECAY = 0.9448630629  # 1/A, as published; half an inverse Bohr radius


def sine(n: int, r: float) -> float:
    return math.sin((n + 1) * math.pi * r / CUTOFF) / r


def bessel(n: int, r: float) -> float:
    return math.sqrt(2 / CUTOFF) * math.sin((n + 1) * math.pi * r / CUTOFF) / r


def gaussian(n: int, r: float) -> float:
    width = CUTOFF / (N - 1)
    return math.exp(-((r - n * width) ** 2) / (2 * width**2))


def bernstein(n: int, r: float) -> float:
    u = math.exp(-DECAY * r)
    return math.comb(N - 1, n) * u**n * (1 - u) ** (N - 1 - n)


FORMULAS: dict[str, Callable[[int, float], float]] = {
    "sine": sine,
    "bessel": bessel,
    "gaussian": gaussian,
    "bernstein": bernstein,
}
each_basis = pytest.mark.parametrize("name", sorted(RADIAL_BASES))


def lengths(dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.tensor(LENGTHS, dtype=dtype)


@each_basis
def test_equals_its_formula(name: str):
    expected = [[FORMULAS[name](n, r) for n in range(N)] for r in LENGTHS]
    basis = make_radial_basis(name, N, CUTOFF).double()
    # frequencies that are trained are stored in float32 unless the model is made in float64
    exact = name != "bessel"
    tolerance = {"rtol": 1e-10, "atol": 1e-12} if exact else {"rtol": 1e-6, "atol": 1e-6}
    torch.testing.assert_close(
        basis(lengths()), torch.tensor(expected, dtype=torch.float64), **tolerance
    )


@each_basis
def test_float32_follows_float64(name: str):
    basis = make_radial_basis(name, 20, CUTOFF)
    short = basis(lengths(torch.float32))
    assert short.dtype == torch.float32
    torch.testing.assert_close(short.double(), basis.double()(lengths()), rtol=1e-4, atol=2e-5)


@each_basis
def test_slopes_are_finite_and_right(name: str):
    basis = make_radial_basis(name, N, CUTOFF).double()
    r = lengths().requires_grad_()
    assert torch.autograd.gradcheck(basis, (r,))
    assert torch.autograd.gradgradcheck(basis, (r,))


def test_bernstein_polynomials_add_up_to_one():
    total = make_radial_basis("bernstein", 15, CUTOFF)(lengths()).sum(dim=1)
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-12)


def test_bessel_functions_are_orthonormal_with_the_weight_of_a_sphere():
    r = (torch.arange(20000, dtype=torch.float64) + 0.5) * (CUTOFF / 20000)
    values = make_radial_basis("bessel", 5, CUTOFF).double()(r) * r.unsqueeze(1)
    overlap = values.T @ values * (CUTOFF / 20000)
    torch.testing.assert_close(overlap, torch.eye(5).double(), rtol=0, atol=1e-5)


def test_only_bessel_frequencies_are_trained():
    counts = {n: len(list(make_radial_basis(n, N, CUTOFF).parameters())) for n in RADIAL_BASES}
    assert counts == {"sine": 0, "bessel": 1, "gaussian": 0, "bernstein": 0}


def test_one_function_is_enough():
    for name in RADIAL_BASES:
        assert make_radial_basis(name, 1, CUTOFF)(lengths(torch.float32)).isfinite().all(), name


def test_an_unknown_basis_is_refused():
    with pytest.raises(InputError, match=r"unknown radial basis 'besel'; did you mean 'bessel'"):
        make_radial_basis("besel", N, CUTOFF)
