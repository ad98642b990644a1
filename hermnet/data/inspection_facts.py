"""`SplitFacts`: counts and ranges of one split; outliers among all frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hermnet.data.consistency import Array
from hermnet.data.consistency_strain import voigt
from hermnet.data.inspection_distances import Distances
from hermnet.data.inspection_frames import Frame
from hermnet.elements import symbol
from hermnet.units import to_internal

_FAR_OUT = 10.0  # robust standard deviations
_NORMAL = 1.4826  # standard deviation over median absolute deviation, of a normal distribution


@dataclass(frozen=True)
class SplitFacts:
    """What one split holds.

    Attributes:
        name: of the split.
        n_frames: number of structures.
        n_atoms: number of atoms of all structures.
        elements: symbols by atomic number.
        compositions: number of frames by formula, most frequent first.
        labels: number of frames that have energy, forces and stress.
        energies: (n,) eV per atom.
        forces: (n, 3) eV/A, of all atoms.
        stress: (n, 6) GPa, xx yy zz yz xz xy.
        shortest: the shortest distance in words, or None.
        largest_force: the largest force in words, or None.
        net_force: largest absolute sum of the forces of a frame, eV/A.
        net_force_at: the frame that has it, and how much that is for each atom; or None.
        histogram: (n_bins,) pairs of atoms by distance.
    """

    name: str
    n_frames: int
    n_atoms: int
    elements: tuple[str, ...]
    compositions: dict[str, int]
    labels: dict[str, int]
    energies: Array
    forces: Array
    stress: Array
    shortest: str | None
    largest_force: str | None
    net_force: float
    net_force_at: str | None
    histogram: Array


def gather_facts(
    name: str, frames: Sequence[Frame], distances: Sequence[Distances | None]
) -> SplitFacts:
    """Facts about the frames of a split and their distances."""
    numbers = np.unique(np.concatenate([frame.atomic_numbers for frame in frames]))
    energies = [frame.energy / frame.n_atoms for frame in frames if frame.energy is not None]
    forced = [(frame, frame.forces) for frame in frames if frame.forces is not None]
    stress = [frame.stress for frame in frames if frame.stress is not None]
    net = [float(np.linalg.norm(forces.sum(axis=0))) for _, forces in forced]
    worst = forced[int(np.argmax(net))][0] if net else None
    compositions = Counter(formula(frame.atomic_numbers) for frame in frames)
    known = [d.counts for d in distances if d is not None]
    return SplitFacts(
        name=name,
        n_frames=len(frames),
        n_atoms=sum(frame.n_atoms for frame in frames),
        elements=tuple(symbol(int(z)) for z in numbers),
        compositions=dict(compositions.most_common()),
        labels={"energy": len(energies), "forces": len(forced), "stress": len(stress)},
        energies=np.array(energies),
        forces=np.concatenate([f for _, f in forced]) if forced else np.zeros((0, 3)),
        stress=voigt(np.stack(stress)) / to_internal("stress", "GPa")
        if stress
        else np.zeros((0, 6)),
        shortest=_shortest(frames, distances),
        largest_force=_largest_force(forced),
        net_force=max(net, default=0.0),
        net_force_at=None
        if worst is None
        else f"{worst.name}, {max(net) / worst.n_atoms:.2g} per atom",
        histogram=np.sum(known, axis=0) if known else np.zeros(0),
    )


def formula(atomic_numbers: Array) -> str:
    """Elements with their numbers of atoms, such as ``C2H6O``, in the order of their symbols."""
    counts = sorted((symbol(int(z)), n) for z, n in Counter(atomic_numbers.tolist()).items())
    return "".join(name + (str(n) if n > 1 else "") for name, n in counts)


def atom_name(frame: Frame, index: int) -> str:
    """Index and symbol of an atom, such as ``3 (Cu)``."""
    return f"{index} ({symbol(int(frame.atomic_numbers[index]))})"


def _shortest(frames: Sequence[Frame], distances: Sequence[Distances | None]) -> str | None:
    lengths = [np.inf if d is None else d.shortest for d in distances]
    at = int(np.argmin(lengths))
    distance = distances[at]
    if distance is None or not np.isfinite(distance.shortest):
        return None
    names = " and ".join(atom_name(frames[at], k) for k in distance.atoms)
    return f"{distance.shortest:.3f} A ({frames[at].name}, atoms {names})"


def _largest_force(forced: Sequence[tuple[Frame, Array]]) -> str | None:
    if not forced:
        return None
    sizes = [float(np.linalg.norm(forces, axis=1).max()) for _, forces in forced]
    frame, forces = forced[int(np.argmax(sizes))]
    atom = int(np.linalg.norm(forces, axis=1).argmax())
    return f"{max(sizes):.3g} eV/A ({frame.name}, atom {atom_name(frame, atom)})"


def outliers(frames: Sequence[Frame]) -> list[str]:
    """Frames far from the others in energy or in their largest force, one line for each kind.

    Energies are taken per atom after a least-squares energy for each element, forces by the
    logarithm of the largest; the distance from the median is measured in median absolute
    deviations (times 1.4826).
    """
    lines = []
    known = [frame for frame in frames if frame.energy is not None]
    if len(known) > 1:
        scores = _scores(_residuals(known))
        lines += _far_out(known, scores, "energy per atom, less an energy for each element,")
    forced = [f for f in frames if f.forces is not None and f.forces.any()]
    if len(forced) > 1:
        sizes = [np.log((np.asarray(f.forces) ** 2).sum(axis=1).max()) for f in forced]
        scores = _scores(np.array(sizes))
        lines += _far_out(forced, np.maximum(scores, 0.0), "largest force")
    return lines


def _residuals(frames: Sequence[Frame]) -> Array:
    """(n_frames,) eV per atom that energies of the elements do not explain."""
    elements = np.unique(np.concatenate([frame.atomic_numbers for frame in frames]))
    counts = np.stack([(f.atomic_numbers[:, None] == elements).sum(axis=0) for f in frames])
    n_atoms = counts.sum(axis=1)
    energies = np.array([frame.energy for frame in frames]) / n_atoms
    shares = counts / n_atoms[:, None]
    shifts = np.linalg.lstsq(shares, energies, rcond=None)[0]
    residuals: Array = energies - shares @ shifts
    return residuals


def _scores(values: Array) -> Array:
    off = values - np.median(values)
    spread = _NORMAL * float(np.median(np.abs(off)))
    scores: Array = off / spread if spread > 1e-9 else np.zeros_like(off)
    return scores


def _far_out(frames: Sequence[Frame], scores: Array, what: str) -> list[str]:
    far = np.flatnonzero(np.abs(scores) > _FAR_OUT)
    if len(far) == 0:
        return []
    worst = far[np.argsort(-np.abs(scores[far]), kind="stable")]
    names = ", ".join(f"{frames[k].name} ({scores[k]:+.0f})" for k in worst[:3])
    more = ", ..." if len(far) > 3 else ""
    return [
        f"{what} more than {_FAR_OUT:g} robust standard deviations from the median in "
        f"{len(far)} of {len(frames)} frames: {names}{more}"
    ]
