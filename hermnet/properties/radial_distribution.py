"""Radial distribution functions: how atoms stand around atoms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations_with_replacement
from pathlib import Path
from typing import ClassVar, final

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from hermnet.data.progress import tracked
from hermnet.derivatives import edge_vectors
from hermnet.errors import InputError
from hermnet.neighbors import graph_from_atoms
from hermnet.properties.report import Report, picture, write_csv, write_json
from hermnet.properties.settings import RdfSettings
from hermnet.properties.structures import check_crystal

Array = NDArray[np.float64]
ALL = "all"


@final
@dataclass(frozen=True)
class RadialDistribution(Report):
    """``g(r)``, one in an ideal gas, of all atoms and of each pair of elements.

    Attributes:
        settings: what was asked for.
        distances: middles of the bins in A, (n_bins,).
        functions: by pair, such as ``Cu-Au``, and ``all``; each (n_bins,).
        coordination: neighbors of the second element around the first, nearer than the outer edge
            of each bin, by pair; each (n_bins,).
    """

    files: ClassVar[tuple[str, ...]] = ("rdf.csv", "rdf.json", "rdf.png")
    settings: RdfSettings
    distances: Array
    functions: dict[str, Array]
    coordination: dict[str, Array]

    def peak(self, pair: str) -> tuple[float, float]:
        """Distance in A and height of the highest point."""
        best = int(self.functions[pair].argmax())
        return float(self.distances[best]), float(self.functions[pair][best])

    def lines(self) -> list[str]:
        """See `Report.lines`."""
        lines = []
        for pair in self.functions:
            distance, height = self.peak(pair)
            lines.append(f"{pair}: highest at {distance:.3f} A, g = {height:.3f}")
        return lines

    def write(self, folder: Path) -> None:
        """See `Report.write`."""
        names = [f"g_{pair}" for pair in self.functions]
        names += [f"n_{pair}" for pair in self.coordination]
        columns = [self.distances, *self.functions.values(), *self.coordination.values()]
        write_csv(folder / "rdf.csv", ("r_A", *names), np.stack(columns, axis=1).tolist())
        peaks = {
            pair: dict(zip(("r_A", "g"), self.peak(pair), strict=True)) for pair in self.functions
        }
        write_json(folder / "rdf.json", {"peaks": peaks, "settings": asdict(self.settings)})
        with picture(folder / "rdf.png") as (axis,):
            for pair, values in self.functions.items():
                black = {"color": "black"} if pair == ALL else {}
                axis.plot(self.distances, values, label=pair, linewidth=1.0, **black)
            axis.axhline(1.0, color="grey", linewidth=0.6)
            axis.set(xlabel="distance, A", ylabel="g(r)")
            axis.legend(frameon=False)


def radial_distribution(
    frames: Sequence[Atoms], settings: RdfSettings | None = None
) -> RadialDistribution:
    """Average over frames; periodic images count, however large r is.

    Args:
        frames: periodic in three directions, of the same elements each.
        settings: range and bins.

    Raises:
        InputError: for no frames or ones that have no volume.
    """
    chosen = settings or RdfSettings()
    frames = frames[chosen.skip :]
    if not frames:
        raise InputError(f"no frame is left after the first {chosen.skip}")
    edges = np.linspace(0.0, chosen.r_max, chosen.bins + 1)
    shells = 4 / 3 * np.pi * np.diff(edges**3)
    pairs = _pairs(frames[0])
    ideal = dict.fromkeys(pairs, 0.0)
    found = {pair: np.zeros(chosen.bins) for pair in pairs}
    centers_seen = dict.fromkeys(pairs, 0)
    for atoms in tracked(frames, len(frames), "radial distribution"):
        check_crystal(atoms, "a radial distribution")
        graph = graph_from_atoms(atoms, chosen.r_max)
        lengths = edge_vectors(graph).norm(dim=1).numpy()
        numbers, centers, others = atoms.numbers, graph.centers.numpy(), graph.neighbors.numpy()
        for pair, (one, other) in pairs.items():
            rows = _is(numbers[centers], one) & _is(numbers[others], other)
            n_one, n_other = (int(_is(numbers, z).sum()) for z in (one, other))
            found[pair] += np.histogram(lengths[rows], edges)[0]
            ideal[pair] += n_one * n_other / atoms.get_volume()
            centers_seen[pair] += n_one
    return RadialDistribution(
        chosen,
        (edges[1:] + edges[:-1]) / 2,
        {pair: counts / (ideal[pair] * shells) for pair, counts in found.items()},
        {pair: np.cumsum(counts) / centers_seen[pair] for pair, counts in found.items()},
    )


def _pairs(atoms: Atoms) -> dict[str, tuple[int, int]]:
    """Atomic numbers by the pair's name; 0 for any."""
    names = dict(zip(atoms.symbols, atoms.numbers.tolist(), strict=True))
    pairs = {ALL: (0, 0)}
    if len(names) > 1:
        for one, other in combinations_with_replacement(sorted(names), 2):
            pairs[f"{one}-{other}"] = (names[one], names[other])
    return pairs


def _is(numbers: NDArray[np.int64], wanted: int) -> NDArray[np.bool_]:
    return numbers == wanted if wanted else np.ones(len(numbers), dtype=bool)
