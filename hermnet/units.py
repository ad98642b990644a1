"""Units: from what a file holds to what the model sees (eV, A, eV/A, eV/A^3, e A, A^2, A^3)."""

from __future__ import annotations

from ase import units

from hermnet.errors import InputError, nearest

# The project's convention for rMD17; CODATA 2014 to 2022 give 0.043364104, 2.6e-7 of it less.
EV_PER_KCAL_PER_MOL = 0.0433641153

_ENERGIES = {
    "eV": 1.0,
    "meV": 1e-3,
    "kcal/mol": EV_PER_KCAL_PER_MOL,
    "kJ/mol": EV_PER_KCAL_PER_MOL / 4.184,
    "Hartree": units.Hartree,
    "Ha": units.Hartree,
    "Rydberg": units.Rydberg,
    "Ry": units.Rydberg,
}
_LENGTHS = {
    "A": 1.0,
    "Angstrom": 1.0,
    "Bohr": units.Bohr,
    "nm": units.nm,
    "pm": 1e-2,
}
_PRESSURES = {
    "GPa": units.GPa,
    "MPa": 1e-3 * units.GPa,
    "Pa": units.Pascal,
    "kbar": 1e3 * units.bar,
    "bar": units.bar,
}
_DIPOLES = {"e A": 1.0, "D": units.Debye, "Debye": units.Debye, "e a0": units.Bohr}
_FACTORS = {
    "dipole": _DIPOLES,
    "area": {"A^2": 1.0, "a0^2": units.Bohr**2, "Bohr^2": units.Bohr**2},
    "volume": {"A^3": 1.0, "a0^3": units.Bohr**3, "Bohr^3": units.Bohr**3},
    "energy": _ENERGIES,
    "length": _LENGTHS,
    "forces": {f"{e}/{a}": x / y for e, x in _ENERGIES.items() for a, y in _LENGTHS.items()},
    "stress": _PRESSURES
    | {f"{e}/{a}^3": x / y**3 for e, x in _ENERGIES.items() for a, y in _LENGTHS.items()},
}

# Of scalars that no readout needs in a unit of its own, so that they are only passed on.
_PASSED_ON = ("cal/(mol K)", "J/(mol K)", "eV/K", "e", "mu_B", "K", "cm^-1", "GHz", "THz", "amu")
_PURE = ("", "1")


def to_internal(quantity: str, unit: str) -> float:
    """The factor that turns a value in `unit` into the model's unit.

    Args:
        quantity: ``energy`` (to eV), ``length`` (to A), ``forces`` (to eV/A), ``stress`` (to
            eV/A^3), ``dipole`` (to e A), ``area`` (to A^2) or ``volume`` (to A^3).
        unit: such as ``kcal/mol``, ``Bohr``, ``Hartree/Bohr``, ``GPa`` or ``eV/A^3``; spelled
            exactly, since upper and lower case tell meV and MeV apart.

    Raises:
        InputError: for a quantity or a unit that is not known.
    """
    if quantity not in _FACTORS:
        raise InputError(f"unknown quantity '{quantity}'; {nearest(quantity, _FACTORS)}")
    factors = _FACTORS[quantity]
    if unit not in factors:
        raise InputError(f"unknown unit '{unit}' of {quantity}; {nearest(unit, factors)}")
    return factors[unit]


def scalar_unit(unit: str) -> tuple[float, str]:
    """What to multiply a scalar of a file with, and the unit that it then has.

    Energies become eV. Everything else stays as it is: its unit is what tables show, and a readout
    that works in another one converts it.

    Args:
        unit: of the file; ``1`` or nothing for a pure number.

    Raises:
        InputError: for a unit that is not known.
    """
    if unit in _PURE:
        return 1.0, ""
    if unit in _ENERGIES:
        return _ENERGIES[unit], "eV"
    kept = [*_PASSED_ON, *_LENGTHS, *_PRESSURES]
    kept += [name for key in ("dipole", "area", "volume") for name in _FACTORS[key]]
    if unit not in kept:
        hint = nearest(unit, [*_ENERGIES, *kept, "1"])
        raise InputError(f"unknown unit '{unit}' of a scalar; {hint}")
    return 1.0, unit
