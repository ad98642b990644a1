"""Labelled sets for checks of labels, small and consistent, and the faults to plant in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT

import hermnet.datamodules
from hermnet.data.inspection_frames import Frame
from hermnet.graph import AtomicGraph
from hermnet.neighbors import graph_from_atoms

KCAL = 0.0433641153
_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
_QUICKSTART = Path(next(iter(hermnet.datamodules.__path__))) / "quickstart"


def labelled_graph(atoms: Atoms, calculator: Calculator | None = None) -> AtomicGraph:
    """The structure with energy, forces and, where it is periodic, stress of a calculator."""
    atoms = atoms.copy()
    atoms.calc = EMT() if calculator is None else calculator
    graph = replace(
        graph_from_atoms(atoms),
        energy=torch.tensor([atoms.get_potential_energy()], dtype=torch.float64),
        forces=torch.tensor(atoms.get_forces(), dtype=torch.float64),
    )
    if not atoms.pbc.all():
        return graph
    stress = torch.tensor(atoms.get_stress(voigt=False), dtype=torch.float64)
    return replace(graph, stress=stress.reshape(1, 3, 3))


def ethanol(n_frames: int) -> list[AtomicGraph]:
    """Frames of rMD17 in eV."""
    data = np.load(_QUICKSTART / "rmd17_ethanol_train_01.npz", allow_pickle=False)
    graphs = []
    for k in range(n_frames):
        graph = graph_from_atoms(Atoms(data["nuclear_charges"], positions=data["coords"][k]))
        graphs.append(
            replace(
                graph,
                energy=torch.tensor([data["energies"][k] * KCAL]),
                forces=torch.tensor(data["forces"][k] * KCAL),
            )
        )
    return graphs


def hot_alloy(n_frames: int, seed: int = 0, stdev: float = 0.12) -> list[AtomicGraph]:
    """Cu3Au with displaced atoms in one cell."""
    graphs = []
    for k in range(n_frames):
        atoms = bulk("Cu", cubic=True, a=3.75).repeat((2, 2, 1))
        atoms.symbols[::4] = "Au"
        atoms.rattle(stdev, seed=1000 * seed + k)
        graphs.append(labelled_graph(atoms))
    return graphs


def strained_crystal(sizes: Sequence[float] = (-0.02, -0.01, 0.0, 0.01, 0.02)) -> list[AtomicGraph]:
    """Cu compressed by 2 %, then strained along each of the six components."""
    graphs = []
    for i, j in _VOIGT:
        for size in sizes:
            strain = np.zeros((3, 3))
            strain[i, j] += size / 2
            strain[j, i] += size / 2
            # without symmetry, so that no two shears are alike
            atoms = bulk("Cu", a=3.6).repeat((1, 1, 2))
            start = atoms.cell @ (np.eye(3) + np.array([[0, 0.01, 0.03], [0, 0, -0.02], [0, 0, 0]]))
            atoms.set_cell(start @ (np.eye(3) + strain), scale_atoms=True)
            graphs.append(labelled_graph(atoms))
    return graphs


def frames(graphs: Sequence[AtomicGraph], split: str = "train") -> list[Frame]:
    return [Frame(split, index, graph) for index, graph in enumerate(graphs)]


def scaled(graphs: Sequence[AtomicGraph], label: str, factor: float) -> list[AtomicGraph]:
    """One label multiplied, as by a wrong unit or sign."""
    return [replace(graph, **{label: factor * getattr(graph, label)}) for graph in graphs]


def exchanged(graphs: Sequence[AtomicGraph], one: str, other: str) -> list[AtomicGraph]:
    """Two shear components of the stress exchanged."""
    places = {"yz": (1, 2), "xz": (0, 2), "xy": (0, 1)}
    (i, j), (m, n) = places[one], places[other]
    changed = []
    for graph in graphs:
        stress = graph.stress.clone()
        stress[0, i, j] = stress[0, j, i] = graph.stress[0, m, n]
        stress[0, m, n] = stress[0, n, m] = graph.stress[0, i, j]
        changed.append(replace(graph, stress=stress))
    return changed


def rotation(seed: int) -> torch.Tensor:
    """A random proper rotation, (3, 3)."""
    matrix, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return torch.tensor(matrix * np.sign(np.linalg.det(matrix)))
