"""Predictions frame by frame, and as extended xyz."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import ase
import ase.io
import torch
from ase.calculators.singlepoint import SinglePointCalculator

from hermnet.errors import InputError
from hermnet.graph import AtomicGraph, collate
from hermnet.potential import Potential, Prediction
from hermnet.property_model import PropertyModel, PropertyPrediction


def batches(graphs: Sequence[AtomicGraph], size: int) -> Iterator[AtomicGraph]:
    """Collate graphs in order, `size` at a time."""
    for start in range(0, len(graphs), size):
        yield collate(graphs[start : start + size])


@torch.no_grad()
def predict_batches(
    potential: Potential, graphs: Iterable[AtomicGraph], stress: bool = False
) -> Iterator[tuple[AtomicGraph, Prediction]]:
    """Each batch with its prediction, on the potential's device."""
    device = next(potential.parameters()).device
    potential.eval()
    for graph in graphs:
        moved = graph.to(device)
        yield moved, potential(moved, stress=stress)


@torch.no_grad()
def predict_properties(
    model: PropertyModel, graphs: Iterable[AtomicGraph]
) -> Iterator[tuple[AtomicGraph, PropertyPrediction]]:
    """Each batch with its prediction, on the model's device."""
    device = next(model.parameters()).device
    model.eval()
    for graph in graphs:
        moved = graph.to(device)
        yield moved, model(moved)


def structures(graph: AtomicGraph) -> Iterator[tuple[int, slice, ase.Atoms]]:
    """Each structure as ASE has it, with its index and its rows among the atoms."""
    ends = torch.cumsum(graph.atoms_per_system(), 0).tolist()
    for system, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
        rows = slice(start, end)
        yield (
            system,
            rows,
            ase.Atoms(
                numbers=graph.atomic_numbers[rows].cpu().numpy(),
                positions=graph.positions[rows].cpu().numpy(),
                cell=graph.cell[system].cpu().numpy(),
                pbc=graph.pbc[system].cpu().numpy(),
            ),
        )


def with_properties(
    model: PropertyModel, graph: AtomicGraph, prediction: PropertyPrediction
) -> list[ase.Atoms]:
    """ASE structures whose `info`, in a file the comment line, has the value of each target."""
    columns = {
        name: values.cpu().numpy() for name, values in model.columns(prediction.values).items()
    }
    frames = []
    for system, _, atoms in structures(graph):
        for name, values in columns.items():
            row = values[system]
            atoms.info[name] = float(row[0]) if len(row) == 1 else row
        frames.append(atoms)
    return frames


def to_atoms(graph: AtomicGraph, prediction: Prediction) -> list[ase.Atoms]:
    """ASE structures that carry the predicted energy, forces and, where it exists, stress.

    The stress is in ASE's Voigt order xx yy zz yz xz xy, in eV/A^3, positive under tension.
    """
    frames = []
    for system, rows, atoms in structures(graph):
        results = {
            "energy": float(prediction.energy[system]),
            "energies": prediction.atomic_energies[rows].cpu().numpy(),
        }
        if prediction.forces is not None:
            results["forces"] = prediction.forces[rows].to(torch.float64).cpu().numpy()
        if prediction.stress is not None and bool(torch.isfinite(prediction.stress[system]).all()):
            full = prediction.stress[system].to(torch.float64).cpu().numpy()
            results["stress"] = full[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
        atoms.calc = SinglePointCalculator(atoms, **results)
        frames.append(atoms)
    return frames


def write_extxyz(path: Path, frames: Iterable[ase.Atoms]) -> int:
    """Write frames as extended xyz and return their number; the file appears only when complete.

    Raises:
        InputError: if the file cannot be written.
    """
    if path.is_dir():
        raise InputError(f"cannot write {path}: it is a folder")
    part = path.with_name(path.name + ".part")
    count = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w", encoding="utf-8") as file:
            for atoms in frames:
                ase.io.write(file, atoms, format="extxyz")
                count += 1
        os.replace(part, path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error
    finally:
        with suppress(OSError):  # it is there only when something went wrong
            part.unlink()
    return count
