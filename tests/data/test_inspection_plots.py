from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

import consistent
import structures
from hermnet.data.inspection import inspect_splits
from hermnet.data.inspection_plots import draw_inspection
from hermnet.graph import AtomicGraph
from hermnet.neighbors import graph_from_atoms


def drawn(splits: dict[str, list[AtomicGraph]], path: Path) -> np.ndarray:
    """The picture as grey values, 0 black; the file must be a PNG."""
    draw_inspection(inspect_splits(splits), path)
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    return imread(path)[:, :, :3].mean(axis=2)


def panels(image: np.ndarray, n_rows: int, n_columns: int) -> list[np.ndarray]:
    rows = np.array_split(image, n_rows, axis=0)
    return [panel for row in rows for panel in np.array_split(row, n_columns, axis=1)]


def test_every_label_and_check_has_a_panel(tmp_path: Path):
    alloys = consistent.hot_alloy(24)
    image = drawn({"train": alloys[:12], "test": alloys[12:]}, tmp_path / "data.png")
    parts = panels(image, 2, 3)
    assert all((part < 0.9).mean() > 0.01 for part in parts)


def test_a_set_of_molecules_has_no_stress(tmp_path: Path):
    image = drawn({"train": consistent.ethanol(200)}, tmp_path / "data.png")
    assert image.shape[0] < image.shape[1] < 1.5 * image.shape[0], "two by two"
    assert all((part < 0.9).mean() > 0.01 for part in panels(image, 2, 2))


def test_a_suspicious_check_stands_out_in_red(tmp_path: Path):
    def red(graphs: list[AtomicGraph]) -> int:
        drawn({"train": graphs}, tmp_path / "data.png")
        r, g, b = np.moveaxis(imread(tmp_path / "data.png")[:, :, :3], 2, 0)
        return int(((r > 0.65) & (g < 0.3) & (b < 0.3)).sum())

    graphs = consistent.ethanol(100)
    assert red(graphs) == 0
    assert red(consistent.scaled(graphs, "forces", -1.0)) > 20


@pytest.mark.parametrize("n_frames", [1, 2])
def test_structures_without_labels_are_drawn(tmp_path: Path, n_frames: int):
    graphs = [graph_from_atoms(structures.molecule(k)) for k in range(n_frames)]
    assert drawn({"train": graphs}, tmp_path / "data.png").min() < 0.5
