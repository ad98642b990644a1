"""Chemical elements: symbols, atomic numbers and places in the periodic table."""

from __future__ import annotations

from ase.data import chemical_symbols

from hermnet.errors import InputError

_NOBLE_GASES = (2, 10, 18, 36, 54, 86, 118)
_SYMBOLS = tuple(chemical_symbols[: _NOBLE_GASES[-1] + 1])  # index 0 is ASE's dummy "X"
_NUMBERS = {name: z for z, name in enumerate(_SYMBOLS) if z > 0}


def number(name: str) -> int:
    """The atomic number of the element with symbol `name`.

    Raises:
        InputError: if there is no such symbol.
    """
    if not isinstance(name, str):  # YAML reads some bare words as something else
        raise InputError(f"'{name}' is no element symbol; put symbols in quotes, such as 'No'")
    if name not in _NUMBERS:
        spelled = name.strip().capitalize()
        hint = f"did you mean '{spelled}'?" if spelled in _NUMBERS else "symbols are 'H' to 'Og'"
        raise InputError(f"'{name}' is no element symbol; {hint}")
    return _NUMBERS[name]


def symbol(atomic_number: int) -> str:
    """The symbol of the element with this atomic number, 1 to 118.

    Raises:
        InputError: if there is no such element.
    """
    if not 1 <= atomic_number < len(_SYMBOLS):
        raise InputError(f"there is no element number {atomic_number} (known: 1 to 118)")
    return _SYMBOLS[atomic_number]


def period(atomic_number: int) -> int:
    """The row of the periodic table, 1 to 7."""
    symbol(atomic_number)  # refuses what is no element
    return next(row for row, z in enumerate(_NOBLE_GASES, start=1) if atomic_number <= z)


def group(atomic_number: int) -> int:
    """The column of the periodic table, 1 to 18.

    IUPAC gives the f block no column of its own; here it counts as group 3, so that La to Lu stand
    with Sc and Y.
    """
    if block(atomic_number) == "f":
        return 3
    place, row_end = _place(atomic_number)
    if place <= 2 and atomic_number != row_end:
        return place
    return 18 - (row_end - atomic_number)


def block(atomic_number: int) -> str:
    """The block, ``s``, ``p``, ``d`` or ``f``.

    La to Yb and Ac to No are the f block, Lu and Lr start the d block; He is in the s block.
    """
    place, row_end = _place(atomic_number)
    if place <= 2:
        return "s"
    if row_end - atomic_number < 6:
        return "p"
    return "d" if row_end - atomic_number < 16 else "f"


def _place(atomic_number: int) -> tuple[int, int]:
    """Position within the row (from 1), and the noble gas that ends the row."""
    row = period(atomic_number)
    row_start = _NOBLE_GASES[row - 2] if row > 1 else 0
    return atomic_number - row_start, _NOBLE_GASES[row - 1]
