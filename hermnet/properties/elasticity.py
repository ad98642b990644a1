"""Elastic constants from the stress of strained cells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray

from hermnet.data.progress import tracked
from hermnet.errors import InputError
from hermnet.properties.elastic_averages import Averages, directional_modulus
from hermnet.properties.relaxation import relax_positions
from hermnet.properties.report import Report, picture, write_csv, write_json
from hermnet.properties.settings import ElasticSettings
from hermnet.properties.structures import GPA, check_crystal, stress_of, with_calculator

Array = NDArray[np.float64]
_COMPONENTS = ("xx", "yy", "zz", "yz", "xz", "xy")
_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
# dE/dx from x = -2h, -h, h, 2h; the error is of order h^4
_STEPS = (-2, -1, 1, 2)
_WEIGHTS = (1 / 12, -8 / 12, 8 / 12, -1 / 12)
_PLANES = {"xy": (0, 1), "xz": (0, 2), "yz": (1, 2)}


@final
@dataclass(frozen=True)
class Elasticity(Report):
    """The tensor of elastic constants and what follows from it.

    Attributes:
        settings: what was asked for.
        tensor: (6, 6) symmetric, GPa, in the order xx yy zz yz xz xy.
        asymmetry: largest difference between C_ij and C_ji before they were averaged, in GPa.
        initial_stress: (6,) of the structure as it was given, in GPa.
    """

    files: ClassVar[tuple[str, ...]] = ("elastic.csv", "elastic.json", "elastic.png")
    settings: ElasticSettings
    tensor: Array
    asymmetry: float
    initial_stress: Array

    @property
    def stable(self) -> bool:
        """Whether every strain costs energy (Born), which takes positive eigenvalues."""
        return bool((np.linalg.eigvalsh(self.tensor) > 0).all())

    @property
    def averages(self) -> Averages:
        """Moduli of a polycrystal."""
        return Averages.of(self.tensor)

    def lines(self) -> list[str]:
        """See `Report.lines`."""
        lines = ["elastic constants in GPa, xx yy zz yz xz xy"]
        lines += ["  " + " ".join(f"{v:9.2f}" for v in row) for row in self.tensor.round(2) + 0.0]
        if not self.stable:
            return [*lines, "NOT stable: an eigenvalue is not positive, there are no averages"]
        means = self.averages
        rows = (("bulk", means.bulk), ("shear", means.shear))
        lines += [
            f"{name} modulus {v:.2f} GPa (Voigt), {r:.2f} (Reuss), {(v + r) / 2:.2f} (Hill)"
            for name, (v, r) in rows
        ]
        lines.append(f"Young's modulus {means.young:.2f} GPa, Poisson's ratio {means.poisson:.4f}")
        lines.append(f"universal anisotropy {means.anisotropy:.4f}")
        largest = float(np.abs(self.initial_stress).max())
        if largest > 0.1:
            lines.append(f"note: the structure was under a stress of {largest:.2g} GPa")
        return lines

    def write(self, folder: Path) -> None:
        """See `Report.write`."""
        rows = [[name, *row] for name, row in zip(_COMPONENTS, self.tensor.tolist(), strict=True)]
        write_csv(folder / "elastic.csv", ("GPa", *_COMPONENTS), rows)
        content = {
            "order": " ".join(_COMPONENTS),
            "elastic_constants_GPa": self.tensor.tolist(),
            "asymmetry_GPa": self.asymmetry,
            "initial_stress_GPa": self.initial_stress.tolist(),
            "stable": self.stable,
            **(self.averages.as_dict() if self.stable else {}),
            "settings": asdict(self.settings),
        }
        write_json(folder / "elastic.json", content)
        with picture(folder / "elastic.png", 2 if self.stable else 1) as (left, *others):
            _draw_tensor(left, self.tensor)
            for axis in others:
                _draw_young(axis, self.tensor)


def elastic_constants(
    atoms: Atoms, calculator: Calculator, settings: ElasticSettings | None = None
) -> Elasticity:
    """Differentiate the stress by six strains, each at four values.

    The structure should be relaxed with its cell: under a stress, what comes out are coefficients
    between stress and strain, which lack some symmetry. It stays as it is.

    Args:
        atoms: a crystal.
        calculator: forces and stress.
        settings: how large strains are and whether positions follow them.

    Raises:
        InputError: for a structure that is no crystal, a calculator without stress, or positions
            that do not relax.
    """
    chosen = settings or ElasticSettings()
    check_crystal(atoms, "an elastic tensor")
    start = stress_of(with_calculator(atoms, calculator))
    if start is None:
        raise InputError("elastic constants need a calculator with stress")
    raw = np.zeros((6, 6))
    for strained, component, weight in tracked(_strained(atoms, chosen.strain), 24, "strains"):
        strained.calc = calculator
        if chosen.relax:
            relax_positions(strained, chosen.fmax)
        stress = stress_of(strained)
        assert stress is not None
        raw[:, component] += weight * stress * GPA
    asymmetry = float(np.abs(raw - raw.T).max())
    return Elasticity(chosen, (raw + raw.T) / 2, asymmetry, start * GPA)


def _strained(atoms: Atoms, size: float) -> Iterator[tuple[Atoms, int, float]]:
    """Structures, which component is strained, and the weight of their stress in the slope."""
    for component, (a, b) in enumerate(_VOIGT):
        for step, weight in zip(_STEPS, _WEIGHTS, strict=True):
            strain = np.zeros((3, 3))
            strain[a, b] += step * size / 2  # both halves of a shear make Voigt's component
            strain[b, a] += step * size / 2
            strained = atoms.copy()
            strained.set_cell(atoms.cell @ (np.eye(3) + strain), scale_atoms=True)
            yield strained, component, weight / size


def _draw_tensor(axis: Any, tensor: Array) -> None:
    largest = float(np.abs(tensor).max())
    axis.imshow(tensor, cmap="RdBu_r", vmin=-largest, vmax=largest)
    axis.set(xticks=range(6), yticks=range(6), xticklabels=_COMPONENTS, yticklabels=_COMPONENTS)
    axis.grid(False)
    axis.set_title("elastic constants, GPa")
    for (row, column), value in np.ndenumerate(tensor.round(1) + 0.0):  # no zero with a sign
        colour = "white" if abs(value) > 0.6 * largest else "black"
        axis.text(column, row, f"{value:.1f}", ha="center", va="center", color=colour, fontsize=8)


def _draw_young(axis: Any, tensor: Array) -> None:
    angles = np.linspace(0, 2 * np.pi, 361)
    for name, (a, b) in _PLANES.items():
        directions = np.zeros((len(angles), 3))
        directions[:, a], directions[:, b] = np.cos(angles), np.sin(angles)
        modulus = directional_modulus(tensor, directions)
        axis.plot(modulus * np.cos(angles), modulus * np.sin(angles), label=f"in {name}")
    axis.set(aspect="equal", xlabel="GPa", title="Young's modulus by direction")
    axis.legend(frameon=False, fontsize=8)
