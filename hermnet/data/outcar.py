"""VASP's OUTCAR through ASE's parsers: those of structure, energy, forces and stress only."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.io.formats import open_with_compression
from ase.io.vasp_parsers import vasp_outcar_parsers as ase_outcar

# With a dispersion correction VASP writes a second number behind each energy.
_WITHOUT_VDW = re.compile(r"(eV\s+)?w/o vdW\s*=\s*\S+(\s+eV)?")


def read_outcar(path: Path) -> list[Atoms]:
    """The complete ionic steps of a run.

    ASE's own function would also read POSCAR and CONTCAR beside the file, for constraints, and
    fails on energies with a dispersion correction.

    Args:
        path: the file, which may be compressed.

    Raises:
        Exception: whatever ASE's parsers happen to raise.
    """
    chunk = ase_outcar.OutcarChunkParser(
        parsers=[
            ase_outcar.Cell(),
            ase_outcar.PositionsAndForces(),
            ase_outcar.Stress(),
            _Energy(),
        ]
    )
    header = ase_outcar.OutcarHeaderParser(
        parsers=[ase_outcar.SpeciesTypes(), ase_outcar.IonsPerSpecies()]
    )
    stream: Any
    with open_with_compression(str(path), "rt") as stream:
        return [step.build() for step in ase_outcar.outcarchunks(stream, chunk, header)]


class _Energy(ase_outcar.Energy):
    """The energies with what VASP adds to them."""

    def parse(self, cursor: int, lines: Sequence[str]) -> dict[str, Any]:
        block = [_WITHOUT_VDW.sub("", line) for line in lines[cursor : cursor + 5]]
        return dict(super().parse(0, block))
