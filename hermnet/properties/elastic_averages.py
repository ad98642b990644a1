"""What follows from elastic constants: averages over a polycrystal, moduli along directions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Averages:
    """Moduli of a polycrystal in GPa, each with equal strain (Voigt) and equal stress (Reuss).

    Hill, Proc. Phys. Soc. A 65, 349 (1952); anisotropy of Ranganathan and Ostoja-Starzewski, Phys.
    Rev. Lett. 101, 055504 (2008), eq. 9.

    Attributes:
        bulk: Voigt, Reuss.
        shear: Voigt, Reuss.
    """

    bulk: tuple[float, float]
    shear: tuple[float, float]

    @classmethod
    def of(cls, tensor: Array) -> Averages:
        """Of elastic constants (6, 6) in GPa, symmetric and positive definite."""
        c, s = tensor, np.linalg.inv(tensor)
        cross_c, cross_s = (m[0, 1] + m[0, 2] + m[1, 2] for m in (c, s))
        trace_c, trace_s = (np.trace(m[:3, :3]) for m in (c, s))
        shear_c, shear_s = (np.trace(m[3:, 3:]) for m in (c, s))
        return cls(
            bulk=(float(trace_c + 2 * cross_c) / 9, 1 / float(trace_s + 2 * cross_s)),
            shear=(
                float(trace_c - cross_c + 3 * shear_c) / 15,
                15 / float(4 * (trace_s - cross_s) + 3 * shear_s),
            ),
        )

    @property
    def hill(self) -> tuple[float, float]:
        """Bulk and shear modulus, the means of Voigt's and Reuss'."""
        return sum(self.bulk) / 2, sum(self.shear) / 2

    @property
    def young(self) -> float:
        """Young's modulus from Hill's averages."""
        bulk, shear = self.hill
        return 9 * bulk * shear / (3 * bulk + shear)

    @property
    def poisson(self) -> float:
        """Poisson's ratio from Hill's averages."""
        bulk, shear = self.hill
        return (3 * bulk - 2 * shear) / (6 * bulk + 2 * shear)

    @property
    def anisotropy(self) -> float:
        """``5 G_V / G_R + B_V / B_R - 6``, zero for an isotropic crystal."""
        return 5 * self.shear[0] / self.shear[1] + self.bulk[0] / self.bulk[1] - 6

    def as_dict(self) -> dict[str, float]:
        """Everything by name."""
        names = ("voigt", "reuss", "hill")
        bulk, shear = (*self.bulk, self.hill[0]), (*self.shear, self.hill[1])
        return {
            **{f"bulk_modulus_{n}_GPa": value for n, value in zip(names, bulk, strict=True)},
            **{f"shear_modulus_{n}_GPa": value for n, value in zip(names, shear, strict=True)},
            "young_modulus_GPa": self.young,
            "poisson_ratio": self.poisson,
            "universal_anisotropy": self.anisotropy,
        }


def directional_modulus(tensor: Array, directions: Array) -> Array:
    """Young's modulus (n,) in GPa under tension along unit vectors (n, 3).

    ``1 / E(n) = s_ij m_i m_j`` with ``m = (nx^2, ny^2, nz^2, ny nz, nx nz, nx ny)``; Nye, Physical
    Properties of Crystals, chapter VIII.
    """
    x, y, z = directions.T
    m = np.stack([x * x, y * y, z * z, y * z, x * z, x * y], axis=1)
    values: Array = 1 / np.einsum("ni,ij,nj->n", m, np.linalg.inv(tensor), m)
    return values
