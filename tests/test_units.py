from __future__ import annotations

import pytest
from ase import units

from hermnet.errors import InputError
from hermnet.units import scalar_unit, to_internal


@pytest.mark.parametrize(
    ("quantity", "unit", "factor"),
    [
        ("energy", "eV", 1.0),
        ("energy", "meV", 1e-3),
        ("energy", "kcal/mol", 0.0433641153),
        ("energy", "kJ/mol", 0.0103642727),
        ("energy", "Hartree", 27.211386246),
        ("energy", "Ry", 13.605693123),
        ("length", "A", 1.0),
        ("length", "Bohr", 0.529177210903),
        ("length", "nm", 10.0),
        ("forces", "kcal/mol/A", 0.0433641153),
        ("forces", "Hartree/Bohr", 51.422067),
        ("forces", "eV/Angstrom", 1.0),
        ("stress", "GPa", 6.241509e-3),
        ("stress", "kbar", 6.241509e-4),
        ("stress", "eV/A^3", 1.0),
        ("stress", "Hartree/Bohr^3", 183.63153),  # 29421.026 GPa
    ],
)
def test_factors_are_the_published_ones(quantity: str, unit: str, factor: float) -> None:
    assert to_internal(quantity, unit) == pytest.approx(factor, rel=3e-7)


def test_kcal_per_mol_agrees_with_codata_2014() -> None:
    assert to_internal("energy", "kcal/mol") == pytest.approx(units.kcal / units.mol, rel=3e-7)


def test_unknown_unit_names_the_nearest() -> None:
    with pytest.raises(
        InputError, match="unknown unit 'hartree' of energy; did you mean 'Hartree'"
    ):
        to_internal("energy", "hartree")


def test_a_unit_of_another_quantity_is_unknown() -> None:
    with pytest.raises(InputError, match="unknown unit 'GPa' of energy"):
        to_internal("energy", "GPa")


def test_unknown_quantity_names_the_nearest() -> None:
    with pytest.raises(InputError, match="unknown quantity 'force'; did you mean 'forces'"):
        to_internal("force", "eV/A")


@pytest.mark.parametrize(
    ("unit", "factor", "kept"),
    [
        ("Hartree", 27.211386246, "eV"),
        ("meV", 1e-3, "eV"),
        ("D", 1.0, "D"),
        ("a0^3", 1.0, "a0^3"),
        ("cal/(mol K)", 1.0, "cal/(mol K)"),
        ("1", 1.0, ""),
        ("", 1.0, ""),
    ],
)
def test_energies_among_scalars_become_ev(unit: str, factor: float, kept: str) -> None:
    found, name = scalar_unit(unit)
    assert (found, name) == (pytest.approx(factor, rel=1e-8), kept)


def test_an_unknown_unit_of_a_scalar_names_the_nearest() -> None:
    with pytest.raises(InputError, match="unknown unit 'debye' of a scalar; did you mean 'Debye'"):
        scalar_unit("debye")
