"""Structures as data files of LAMMPS, and an instance that has read one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, chemical_symbols

from hermnet.engines.lammps_library import open_lammps
from hermnet.engines.lammps_script import FIX


def write_data(path: Path, atoms: Atoms, elements: tuple[int, ...], labels: bool = False) -> Path:
    """The structure, its atoms in disorder; its cell has LAMMPS's form."""
    cell = atoms.cell.array
    assert np.allclose(cell, np.tril(cell))
    lines = ["a structure", "", f"{len(atoms)} atoms", f"{len(elements)} atom types"]
    lines += [f"0 {cell[k, k]:.17g} {a}lo {a}hi" for k, a in enumerate("xyz")]
    lines += [f"{cell[1, 0]:.17g} {cell[2, 0]:.17g} {cell[2, 1]:.17g} xy xz yz", ""]
    if labels:
        lines += ["Atom Type Labels", ""]
        lines += [f"{k} {chemical_symbols[z]}" for k, z in enumerate(elements, start=1)] + [""]
    lines += ["Masses", ""]
    lines += [f"{k} {atomic_masses[z]:.17g}" for k, z in enumerate(elements, start=1)]
    lines += ["", "Atoms # atomic", ""]
    for k in np.random.default_rng(0).permutation(len(atoms)):
        place = " ".join(f"{value:.17g}" for value in atoms.positions[k])
        lines.append(f"{k + 1} {elements.index(int(atoms.numbers[k])) + 1} {place}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def set_up(data: Path, boundary: str = "p p p", units: str = "metal") -> Any:
    """LAMMPS with the structure of a data file and a fix that waits for a potential."""
    engine = open_lammps(["-log", "none", "-screen", "none"])
    engine.commands_list(
        [f"units {units}", f"boundary {boundary}", "atom_modify map array", f"read_data {data}"]
    )
    engine.command(FIX)
    engine.commands_list(["fix integrate all nve", "compute virial all pressure NULL virial"])
    engine.command("thermo_style custom step pe etotal c_virial[*]")
    return engine


def array_of(engine: Any, name: str) -> np.ndarray:
    """Positions or forces (n_atoms, 3) in the order of IDs."""
    return np.array(engine.gather_atoms(name, 1, 3)).reshape(-1, 3)
