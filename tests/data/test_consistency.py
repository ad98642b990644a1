from __future__ import annotations

import numpy as np
import pytest

from hermnet.data.consistency import (
    PAIRS_OF_FRAMES,
    Causes,
    Fit,
    Verdict,
    energy_factors,
    forces_factors,
    stress_factors,
)


def test_errors_in_x_do_not_flatten_the_slope():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=20_000)
    noisy = [truth + 0.5 * rng.normal(size=len(truth)) for _ in range(2)]
    fit = Fit.of(noisy[0], 3 * noisy[1])
    assert fit.slope == pytest.approx(3, rel=0.02)
    assert fit.correlation == pytest.approx(1 / 1.25, rel=0.02)
    assert Fit.of(truth, -2 * truth) == Fit(-2, pytest.approx(-1), len(truth))


def test_a_fit_to_zeros_has_no_slope():
    assert Fit.of(np.zeros(3), np.ones(3)) == Fit(0.0, 0.0, 3)


def test_factors_are_those_of_the_units():
    assert energy_factors(1)["energies in kcal/mol read as eV"] == pytest.approx(23.06, abs=0.01)
    assert energy_factors(9)["energies per atom read as energies of the whole frame"] == 1 / 9
    forces = forces_factors()
    assert forces["forces in Hartree/Bohr read as eV/A"] == pytest.approx(51.422, abs=0.001)
    assert forces["forces in eV/Bohr read as eV/A"] == pytest.approx(1.8897, abs=0.0001)
    stress = stress_factors(100.0)
    assert stress["stress in kbar read as GPa"] == pytest.approx(10)
    assert stress["stress in GPa read as eV/A^3"] == pytest.approx(160.218, abs=0.001)
    assert stress["virial (stress times volume) in eV read as stress"] == 100


@pytest.mark.parametrize(
    ("slope", "words"),
    [
        (-1.0, "the sign"),
        (10.3, "ten"),
        (-9.5, "the sign, and ten"),
        (106.0, "hundred or a bit more"),
        (110.0, "a bit more or hundred"),
        (3000.0, "no mix-up of units that is known here"),
    ],
)
def test_a_slope_is_named_by_the_nearest_causes(slope: float, words: str):
    causes = Causes("the sign", {"ten": 10.0, "hundred": 100.0, "a bit more": 115.0})
    assert causes.name(slope, 1.5, 1.12) == words


@pytest.mark.parametrize(
    ("slope", "correlation", "verdict"),
    [
        (1.1, 0.97, Verdict.OK),
        (1.35, 0.97, Verdict.NOT_CONCLUSIVE),
        (1.89, 0.97, Verdict.SUSPICIOUS),
        (1.89, 0.8, Verdict.NOT_CONCLUSIVE),
        (1.0, 0.8, Verdict.NOT_CONCLUSIVE),
        (-1.0, -0.8, Verdict.SUSPICIOUS),
        (23.0, 0.8, Verdict.SUSPICIOUS),
        (-23.0, -0.5, Verdict.NOT_CONCLUSIVE),
        (0.0, 0.0, Verdict.NOT_CONCLUSIVE),
    ],
)
def test_a_verdict_needs_correlation(slope: float, correlation: float, verdict: Verdict):
    causes = Causes("the sign", forces_factors())
    assert PAIRS_OF_FRAMES.judge(Fit(slope, correlation, 100), causes)[0] is verdict
