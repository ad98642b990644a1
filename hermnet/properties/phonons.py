"""Phonons by finite displacements, with phonopy."""

from __future__ import annotations

import math
import warnings
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.dft.kpoints import parse_path_string
from numpy.typing import NDArray

from hermnet.data.progress import tracked
from hermnet.errors import InputError
from hermnet.properties.report import Report, picture, write_csv, write_json
from hermnet.properties.settings import PhononSettings
from hermnet.properties.structures import check_crystal, with_calculator

if TYPE_CHECKING:
    from phonopy import Phonopy

Array = NDArray[np.float64]
_LENGTH = 12.0  # A, of the supercell where no other is asked for
_PER_SEGMENT = 60  # q-points
_IMAGINARY = -0.05  # THz; what is above may be numerical noise
_UNRELAXED = 0.01  # eV/A
_KINKED = 0.05


@final
@dataclass(frozen=True)
class Phonons(Report):
    """Frequencies along a path through the Brillouin zone, and their density.

    Imaginary frequencies are negative numbers.

    Attributes:
        settings: what was asked for.
        supercell: repetitions that were used.
        distances: along the path, (n_points,), in 1/A.
        bands: in THz, (n_points, n_bands).
        corners: where on the path the special points are, with their names.
        frequencies: of the density of states in THz, (n,).
        density: states per THz and primitive cell, (n,).
        lowest: of all frequencies in THz.
        residual: largest force in the structure as it was given, in eV/A.
        kink: how far forces are from growing in proportion to the displacement, as a share of the
            largest one.
        phonopy: the object itself, for whatever else it can do.
    """

    files: ClassVar[tuple[str, ...]] = (
        "bands.csv",
        "dos.csv",
        "phonons.json",
        "phonopy.yaml",
        "phonons.png",
    )
    settings: PhononSettings
    supercell: tuple[int, int, int]
    distances: Array
    bands: Array
    corners: tuple[tuple[float, str], ...]
    frequencies: Array
    density: Array
    lowest: float
    residual: float
    kink: float
    phonopy: Phonopy

    @property
    def stable(self) -> bool:
        """Whether no frequency is imaginary."""
        return self.lowest > _IMAGINARY

    @property
    def n_displacements(self) -> int:
        """How many supercells were computed."""
        return len(self.phonopy.supercells_with_displacements)

    def lines(self) -> list[str]:
        """See `Report.lines`."""
        repeated = "x".join(map(str, self.supercell))
        lines = [
            f"supercell {repeated}, {self.n_displacements} displacements",
            f"frequencies from {self.lowest:.3f} to {self.bands.max():.3f} THz",
        ]
        if not self.stable:
            lines.append("NOT stable: some frequencies are imaginary (negative)")
        if self.residual > _UNRELAXED:
            lines.append(f"note: a force of {self.residual:.2g} eV/A was left in the structure")
        if self.kink > _KINKED:
            lines.append(
                f"note: half a displacement gives forces {self.kink:.0%} off half of them: the "
                "potential bends sharply there, as painn and rmconv do at sites of high symmetry "
                "with a small model.subnet.epsilon (train crystals with 1), and frequencies depend "
                "on --displacement"
            )
        return lines

    def write(self, folder: Path) -> None:
        """See `Report.write`."""
        names = [f"band_{k}_THz" for k in range(self.bands.shape[1])]
        rows = np.column_stack([self.distances, self.bands]).tolist()
        write_csv(folder / "bands.csv", ("q_per_A", *names), rows)
        rows = np.column_stack([self.frequencies, self.density]).tolist()
        write_csv(folder / "dos.csv", ("frequency_THz", "states_per_THz"), rows)
        content = {
            "supercell": list(self.supercell),
            "stable": self.stable,
            "lowest_THz": self.lowest,
            "highest_THz": float(self.bands.max()),
            "largest_force_eV_per_A": self.residual,
            "nonlinearity": self.kink,
            "path": [{"q_per_A": q, "name": name} for q, name in self.corners],
            "settings": asdict(self.settings),
        }
        write_json(folder / "phonons.json", content)
        self.phonopy.save(str(folder / "phonopy.yaml"), settings={"force_constants": True})
        with picture(folder / "phonons.png", 2) as (left, right):
            left.plot(self.distances, self.bands, color="#3b6fb6", linewidth=1.0)
            left.set_xticks([q for q, _ in self.corners], [name for _, name in self.corners])
            left.set(ylabel="frequency, THz", xlim=(0, self.distances[-1]))
            right.plot(self.density, self.frequencies, color="#3b6fb6", linewidth=1.0)
            right.set(xlabel="states, 1/THz", ylabel="frequency, THz", ylim=left.get_ylim())
            for axis in (left, right):
                axis.axhline(0, color="black", linewidth=0.6)


def phonons(
    atoms: Atoms, calculator: Calculator, settings: PhononSettings | None = None
) -> Phonons:
    """Displace atoms of a supercell and diagonalize what their forces say.

    Bands are those of the primitive cell, along the path of Setyawan and Curtarolo, Comput. Mater.
    Sci. 49, 299 (2010), that ASE proposes. The structure itself stays as it is.

    Args:
        atoms: a relaxed crystal.
        calculator: forces.
        settings: supercell, displacement and mesh.

    Raises:
        InputError: for a structure that is no crystal, or without phonopy.
    """
    chosen = settings or PhononSettings()
    check_crystal(atoms, "a phonon calculation")
    supercell = chosen.supercell or proposed_supercell(atoms)
    phonopy = _make(atoms, supercell)
    phonopy.generate_displacements(distance=chosen.displacement)
    displaced = phonopy.supercells_with_displacements
    rest = _forces(phonopy.supercell, phonopy.supercell, calculator)
    half = _forces(displaced[0], phonopy.supercell, calculator)
    found = [
        _forces(cell, cell, calculator)
        for cell in tracked(displaced, len(displaced), "displacements")
    ]
    phonopy.forces = np.array(found)
    phonopy.produce_force_constants()
    phonopy.symmetrize_force_constants()
    whole = found[0] - rest
    kink = float(np.abs(whole - 2 * (half - rest)).max() / max(np.abs(whole).max(), 1e-12))
    residual = float(np.linalg.norm(rest, axis=1).max())
    return _frequencies(phonopy, chosen, supercell, (residual, kink))


def _forces(one: Any, other: Any, calculator: Calculator) -> Array:
    """On the atoms of phonopy's cell halfway between two, (n_atoms, 3) in eV/A."""
    positions = (one.positions + other.positions) / 2
    structure = Atoms(one.symbols, cell=one.cell, positions=positions, pbc=True)
    forces: Array = with_calculator(structure, calculator).get_forces()
    return forces


def proposed_supercell(atoms: Atoms) -> tuple[int, int, int]:
    """Repetitions that make every lattice vector at least 12 A long."""
    a, b, c = (math.ceil(_LENGTH / length) for length in atoms.cell.lengths())
    return a, b, c


def _make(atoms: Atoms, supercell: tuple[int, int, int]) -> Phonopy:
    try:
        from phonopy import Phonopy
        from phonopy.structure.atoms import PhonopyAtoms
    except ImportError as error:
        raise InputError('phonons need phonopy: pip install "hermnet[phonons]"') from error
    cell = PhonopyAtoms(
        symbols=atoms.get_chemical_symbols(),
        cell=atoms.cell.array,
        scaled_positions=atoms.get_scaled_positions(),
        masses=atoms.get_masses(),
    )
    with warnings.catch_warnings():
        # that it has found a smaller primitive cell, which is what "auto" asks for
        warnings.simplefilter("ignore")
        return Phonopy(cell, supercell_matrix=np.diag(supercell), primitive_matrix="auto")


def _frequencies(
    phonopy: Phonopy,
    settings: PhononSettings,
    supercell: tuple[int, int, int],
    checks: tuple[float, float],
) -> Phonons:
    distances, bands, corners = _bands(phonopy)
    phonopy.run_mesh(settings.mesh, is_gamma_center=True)
    phonopy.run_total_dos()
    mesh: Any = phonopy.mesh
    dos: Any = phonopy.total_dos
    return Phonons(
        settings,
        supercell,
        distances,
        bands,
        corners,
        np.array(dos.frequency_points),
        np.array(dos.dos),
        float(min(mesh.frequencies.min(), bands.min())),
        *checks,
        phonopy,
    )


def _bands(phonopy: Phonopy) -> tuple[Array, Array, tuple[tuple[float, str], ...]]:
    """Distances, frequencies and special points along ASE's path of the primitive cell."""
    primitive = Atoms(cell=phonopy.primitive.cell, pbc=True)
    proposed = primitive.cell.bandpath()
    segments, names = [], []
    for part in parse_path_string(proposed.path):
        for start, end in pairwise(part):
            ends = proposed.special_points[start], proposed.special_points[end]
            segments.append(np.linspace(*ends, _PER_SEGMENT))
            names.append((start, end))
    phonopy.run_band_structure(segments)
    structure: Any = phonopy.band_structure
    corners: list[tuple[float, str]] = []
    for (start, end), along in zip(names, structure.distances, strict=True):
        if corners and corners[-1][1] != start:
            corners[-1] = (corners[-1][0], f"{corners[-1][1]}|{start}")
        elif not corners:
            corners.append((float(along[0]), start))
        corners.append((float(along[-1]), end))
    distances = np.concatenate(structure.distances)
    return distances, np.concatenate(structure.frequencies), tuple(corners)
