"""Envelopes against their formulas in plain Python floats, and how they end."""

from __future__ import annotations

import math

import pytest
import torch

from hermnet.envelopes import ENVELOPES, PolynomialEnvelope, make_envelope
from hermnet.errors import InputError

CUTOFF = 3.7
LENGTHS = (0.0, 0.4, 1.85, 3.0, 3.699)
each_envelope = pytest.mark.parametrize("name", sorted(ENVELOPES))


def formula(name: str, r: float, p: int = 6) -> float:
    u = r / CUTOFF
    if name == "cosine":
        return 0.5 * (math.cos(math.pi * u) + 1)
    first = (p + 1) * (p + 2) / 2 * u**p
    return 1 - first + p * (p + 2) * u ** (p + 1) - p * (p + 1) / 2 * u ** (p + 2)


def derivatives(name: str, r: float) -> list[float]:
    """Value, slope and curvature at a distance."""
    x = torch.tensor([r], dtype=torch.float64, requires_grad=True)
    value = make_envelope(name, CUTOFF)(x)
    (slope,) = torch.autograd.grad(value.sum(), x, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), x)
    return [float(t.detach()) for t in (value, slope, curvature)]


@each_envelope
def test_equals_its_formula(name: str):
    expected = torch.tensor([formula(name, r) for r in LENGTHS], dtype=torch.float64)
    values = make_envelope(name, CUTOFF)(torch.tensor(LENGTHS, dtype=torch.float64))
    torch.testing.assert_close(values, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("power", [2, 3, 6, 9])
def test_powers_of_the_polynomial(power: int):
    lengths = torch.tensor(LENGTHS, dtype=torch.float64)
    expected = torch.tensor([formula("polynomial", r, power) for r in LENGTHS], dtype=torch.float64)
    values = PolynomialEnvelope(CUTOFF, power)(lengths)
    torch.testing.assert_close(values, expected, rtol=0, atol=1e-12)


@each_envelope
def test_begins_at_one_and_ends_smoothly(name: str):
    value, slope, _ = derivatives(name, 0.0)
    assert (value, slope) == (1.0, 0.0)
    value, slope, curvature = derivatives(name, CUTOFF - 1e-7)
    assert abs(value) < 1e-12
    assert abs(slope) < 1e-6
    assert (abs(curvature) < 1e-4) == (name == "polynomial")
    for r in (CUTOFF, CUTOFF + 1e-9, 2 * CUTOFF, 1e3):
        assert derivatives(name, r) == [0.0, 0.0, 0.0]


@each_envelope
def test_never_rises(name: str):
    values = make_envelope(name, CUTOFF)(torch.linspace(0, 4, 400, dtype=torch.float64))
    assert (values.diff() <= 1e-14).all()
    assert (values >= 0).all()


def test_an_unknown_envelope_is_refused():
    with pytest.raises(InputError, match=r"unknown envelope 'cos'; did you mean 'cosine'"):
        make_envelope("cos", CUTOFF)
