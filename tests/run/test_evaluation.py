from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from rich.console import Console

import structures
from hermnet.checks import random_potential
from hermnet.graph import AtomicGraph
from hermnet.model_options import ModelOptions
from hermnet.neighbors import graph_from_atoms
from hermnet.potential import Potential
from hermnet.run.evaluation import SplitResult, columns, draw_parity, error_table, evaluate_split
from hermnet.run.prediction import batches

OPTIONS = ModelOptions(
    relations="vertex", n_channels=4, n_layers=1, n_radial=4, cutoff=3.0, dtype="float64"
)
MOLECULES = [structures.molecule(seed) for seed in range(5)]
CRYSTALS = [structures.crystal(seed) for seed in range(3)]
OFF = {"energy": 0.3, "forces": 0.02, "stress": 0.001}


@pytest.fixture(scope="module")
def potential() -> Potential:
    return random_potential(OPTIONS, (1, 6, 8, 22, 56))


def shifted(potential: Potential, frames: list[Atoms], *labels: str) -> list[AtomicGraph]:
    """Frames whose labels are what the potential says, off by a known amount."""
    graphs = []
    for atoms in frames:
        graph = graph_from_atoms(atoms, OPTIONS.cutoff)
        found = potential(graph, stress=True)
        values = {name: getattr(found, name).detach() - OFF[name] for name in labels}
        graphs.append(replace(graph, **values))
    return graphs


@pytest.mark.parametrize("size", [1, 2, 5])
def test_errors_of_a_split(potential: Potential, size: int):
    graphs = shifted(potential, MOLECULES, "energy", "forces")
    result = evaluate_split(potential, batches(graphs, size))
    expected = {"energy": 300.0, "energy_per_atom": 300.0 / 9, "forces": 20.0}  # meV
    for target, value in expected.items():
        assert result.errors[f"{target}_mae"] == pytest.approx(value, rel=1e-8)
        assert result.errors[f"{target}_rmse"] == pytest.approx(value, rel=1e-8)
    assert len(result.errors) == 6
    assert not result.periodic


def test_pairs_of_labels_and_predictions(potential: Potential):
    graphs = shifted(potential, CRYSTALS, "energy", "forces", "stress")
    result = evaluate_split(potential, batches(graphs, 2))
    assert result.periodic
    sizes = {target: len(pair[0]) for target, pair in result.pairs.items()}
    assert sizes == {"energy": 3, "forces": 3 * 5 * 3, "stress": 3 * 9}
    for target in ("forces", "stress"):
        labels, predictions = result.pairs[target]
        expected = torch.cat([getattr(graph, target).flatten() for graph in graphs])
        np.testing.assert_allclose(labels, expected)
        np.testing.assert_allclose(predictions - labels, OFF[target], rtol=1e-8)
    labels, predictions = result.pairs["energy"]
    assert labels.mean() == pytest.approx(0.0, abs=1e-9)
    np.testing.assert_allclose(predictions - labels, 1000 * OFF["energy"] / 5, rtol=1e-8)


def test_a_split_without_labels(potential: Potential):
    graphs = [graph_from_atoms(atoms, OPTIONS.cutoff) for atoms in MOLECULES]
    result = evaluate_split(potential, batches(graphs, 2))
    assert (result.errors, result.pairs) == ({}, {})


def printed(results: dict[str, SplitResult]) -> str:
    console = Console(width=160, record=True, file=None, quiet=False, force_terminal=False)
    with console.capture() as capture:
        console.print(error_table(results))
    return capture.get()


def test_molecules_are_compared_by_molecule(potential: Potential):
    graphs = shifted(potential, MOLECULES, "energy", "forces")
    results = {"test": evaluate_split(potential, batches(graphs, 5))}
    assert columns(results) == {"energy": ("energy", "meV"), "forces": ("forces", "meV/A")}
    text = printed(results)
    assert "energy MAE" in text
    assert "forces RMSE" in text
    (row,) = [line for line in text.splitlines() if "test" in line]
    assert [cell.strip() for cell in row.split("│")[1:-1]] == [
        "test",
        "300.00",
        "300.00",
        "20.00",
        "20.00",
    ]


def test_periodic_structures_are_compared_by_atom(potential: Potential):
    graphs = shifted(potential, CRYSTALS, "energy", "forces", "stress")
    results = {"test": evaluate_split(potential, batches(graphs, 5))}
    assert columns(results)["energy"] == ("energy_per_atom", "meV/atom")
    text = printed(results)
    assert all(unit in text for unit in ("meV/atom", "meV/A", "meV/A^3"))
    assert "60.00" in text  # 300 meV over five atoms


def test_a_target_that_a_split_lacks_is_a_dash(potential: Potential):
    results = {
        "val": evaluate_split(potential, shifted(potential, MOLECULES, "energy", "forces")),
        "test": evaluate_split(potential, shifted(potential, MOLECULES, "energy")),
    }
    (row,) = [line for line in printed(results).splitlines() if "test" in line]
    assert [cell.strip() for cell in row.split("│")[-3:-1]] == ["-", "-"]


def test_a_parity_plot_of_all_splits(potential: Potential, tmp_path: Path):
    results = {
        "val": evaluate_split(potential, shifted(potential, MOLECULES[:2], "energy", "forces")),
        "test": evaluate_split(potential, shifted(potential, MOLECULES, "energy", "forces")),
    }
    draw_parity(results, tmp_path / "parity.png")
    assert (tmp_path / "parity.png").stat().st_size > 10_000
    nothing: dict[str, Any] = {"test": SplitResult({}, {}, False)}
    draw_parity(nothing, tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_a_predicted_nan_is_not_hidden(potential: Potential):
    graphs = shifted(potential, MOLECULES[:1], "energy", "forces")
    spoilt = deepcopy(potential)
    spoilt.embedding.weight.data[:] = math.nan
    assert math.isnan(evaluate_split(spoilt, graphs).errors["forces_mae"])


def test_a_label_that_is_nan_counts_nowhere(potential: Potential):
    one, two = shifted(potential, MOLECULES[:2], "energy", "forces")
    masked = replace(two, forces=torch.full_like(two.forces, math.nan))
    result = evaluate_split(potential, [one, masked])
    alone = evaluate_split(potential, [one])
    assert result.errors["forces_mae"] == alone.errors["forces_mae"]
    assert len(result.pairs["forces"][0]) == one.forces.numel()
    assert len(result.pairs["energy"][0]) == one.n_systems + two.n_systems


def test_many_properties_take_several_tables():
    units = {f"target_{k}": "a0^3" for k in range(7)}
    errors = {f"{name}_{kind}": 12.3456 for name in units for kind in ("mae", "rmse")}
    console = Console(width=100)
    with console.capture() as capture:
        console.print(error_table({"test": SplitResult(errors, {}, False, units)}))
    lines = capture.get().splitlines()
    rows = [line for line in lines if "test" in line]
    assert [row.count("12.35") for row in rows] == [6, 6, 2]
    assert all(any(name in line for line in lines) for name in units)
    nothing = {"test": SplitResult({}, {}, False, {"mass": ""})}
    assert columns(nothing) == {"mass": ("mass", "")}
