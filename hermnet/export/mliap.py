"""A potential for LAMMPS' ``pair_style mliap unified``: what its Python interface calls.

LAMMPS hands over the atoms of one process (its own, then ghosts) and all pairs within the cutoff;
it takes back the energies of its own atoms and a force for each pair, which it adds to both atoms
and to the virial. Forces on ghosts it brings home itself.

With several layers an atom's energy depends on atoms that are several edges away. So ghosts have to
reach as far as messages do (``comm_modify cutoff``) and to have neighbors too (the last word of
``pair_style``): each process computes the features of its ghosts as far as its own atoms need them,
and nobody computes an energy twice. See docs/lammps-mliap.md.
"""

from __future__ import annotations

import os
import pickle
import sys
import traceback
import warnings
from typing import Any, Protocol, final

import numpy as np
import torch
from numpy.typing import NDArray

from hermnet.elements import symbol
from hermnet.errors import InputError
from hermnet.export.exported import ExportedPotential
from hermnet.export.ghosts import depth, reaching

Array = NDArray[Any]
_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_NTASKS")  # where launchers say how many run


class MliapData(Protocol):
    """The part of LAMMPS' ``MLIAPDataPy`` that is used; an array without rows cannot be read."""

    ntotal: int  # number of atoms, ghosts included
    nlocal: int  # number of atoms that the process owns
    nlistatoms: int  # number of owned atoms that have neighbors
    natomneigh: int  # number of atoms that have neighbors, ghosts included
    npairs: int
    elems: Array  # (ntotal,) index of each atom's element
    iatoms: Array  # (natomneigh,) the atoms that have neighbors, owned ones first
    pair_i: Array  # (npairs,) centers
    jatoms: Array  # (npairs,) neighbors
    rij: Array  # (npairs, 3) A, from center to neighbor
    eatoms: Array  # (nlistatoms,) to be set, eV
    energy: float  # to be set, eV

    def update_pair_forces(self, fij: Array) -> None:
        """Add ``fij`` (npairs, 3) to the centers' forces, and subtract it from the neighbors'."""


@final
class MliapPotential:
    """What LAMMPS finds in a file that `hermnet export --format mliap` has written.

    The file is a pickle that names this class and holds the bytes of a ``.pt2`` file.

    Args:
        content: the bytes of a file that `hermnet export --format pt2` has written.
        where: its name, for messages.

    Raises:
        InputError: as `hermnet.ExportedPotential`.
    """

    def __init__(self, content: bytes, where: str = "the exported potential") -> None:
        self._potential = ExportedPotential(content, where)
        self._content, self._where = content, where
        self.interface: Any = None  # LAMMPS sets it
        self.element_types = [symbol(z) for z in self._potential.elements]
        self.ndescriptors = 1  # none are used, but LAMMPS wants some
        self.nparams = 1
        self.rcutfac = 0.5 * self._potential.cutoff  # times two radii of 1
        self._knows_depth = self._n_layers == 1  # LAMMPS itself sees to one cutoff

    def __reduce__(self) -> tuple[type[MliapPotential], tuple[bytes, str]]:
        return MliapPotential, (self._content, self._where)

    def compute_descriptors(self, data: MliapData) -> None:
        """There are none."""

    def compute_gradients(self, data: MliapData) -> None:
        """There are no descriptors."""

    def compute_forces(self, data: MliapData) -> None:
        """Hand LAMMPS the energies of the process's atoms and the forces of all pairs.

        Whatever goes wrong in one of several processes ends that process: LAMMPS would wait for the
        others for ever, while their launcher ends all when one is gone.

        Raises:
            InputError: in a single process, for atoms without element, and for ghosts without
                neighbors where they need some.
        """
        try:
            self._compute(data)
        except Exception:  # whatever it is, the others must not wait
            if next((os.environ[name] for name in _SIZES if name in os.environ), "1") == "1":
                raise
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)

    @torch.no_grad()
    def _compute(self, data: MliapData) -> None:
        data.energy = 0.0
        if data.nlistatoms == 0:
            return
        if self._n_layers > 1 and data.natomneigh == data.nlistatoms < data.ntotal:
            raise InputError("ghosts lack neighbors: write 'pair_style mliap unified FILE 1'")
        types = np.array(data.elems, dtype=np.int64)
        if types.min() < 0:
            raise InputError("an atom has no element: pair_coeff * * names one for each type")
        owned = np.array(data.iatoms[: data.nlistatoms], dtype=np.int64)
        centers, neighbors, vectors = _pairs(data)
        weights = np.zeros(data.ntotal)
        weights[owned] = 1.0
        self._check_depth(weights > 0, centers, neighbors, vectors)
        used = reaching(weights > 0, centers, neighbors, self._n_layers)
        energies, gradient = self._evaluate(
            types, weights, centers[used], neighbors[used], vectors[used]
        )
        data.eatoms = energies[owned]
        data.energy = float(energies[owned].sum())
        if used.any():
            forces = np.zeros((data.npairs, 3))
            forces[used] = gradient
            data.update_pair_forces(forces)

    @property
    def _n_layers(self) -> int:
        return self._potential.description.n_layers

    def _check_depth(self, owned: Array, centers: Array, neighbors: Array, vectors: Array) -> None:
        """Warn once where ghosts seem to end before messages do."""
        if self._knows_depth:
            return
        found = depth(owned, centers, neighbors, vectors)
        self._knows_depth = found > 0
        needed = self._n_layers * self._potential.cutoff
        if 0 < found < needed:
            warnings.warn(
                f"ghost atoms end {found:.1f} A outside, but energies depend on atoms {needed:g} A "
                f"away: write 'comm_modify cutoff' with {needed:g} plus the neighbor skin, unless "
                "there are no atoms that far",
                stacklevel=2,
            )

    def _evaluate(
        self, types: Array, weights: Array, centers: Array, neighbors: Array, vectors: Array
    ) -> tuple[Array, Array]:
        """Atomic energies and the gradient of their weighted sum by the vectors."""
        potential = self._potential
        arrays = (types, weights, centers, neighbors, vectors)
        t, w, i, j, d = (torch.from_numpy(array).to(potential.device) for array in arrays)
        energies, gradient = potential.evaluate(d, potential.relate(t, i, j, None), w)
        return energies.cpu().numpy(), gradient.double().cpu().numpy()


def _pairs(data: MliapData) -> tuple[Array, Array, Array]:
    """Centers, neighbors and vectors, as copies."""
    if data.npairs == 0:
        nothing = np.zeros(0, dtype=np.int64)
        return nothing, nothing, np.zeros((0, 3))
    centers = np.array(data.pair_i, dtype=np.int64)
    return centers, np.array(data.jatoms, dtype=np.int64), np.array(data.rij)


def mliap_file(content: bytes, where: str) -> bytes:
    """What a file for LAMMPS holds, from the bytes of a ``.pt2`` file.

    Args:
        content: the bytes.
        where: the file's name, for messages.
    """
    return pickle.dumps(MliapPotential(content, where))
