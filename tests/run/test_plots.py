from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from hermnet.run.plots import learning_curve, parity, read_curves

HEADER = "epoch,step,train_loss,val_forces_mae,val_energy_per_atom_mae,lr\n"


def log(path: Path, epochs: range, offset: float = 0.0, header: str = HEADER) -> Path:
    """A log as Lightning writes it: training and validation in rows of their own."""
    path.parent.mkdir(parents=True)
    with path.open("w") as file:
        file.write(header)
        for epoch in epochs:
            step = 3 * epoch + 2
            file.write(f"{epoch},{step},,{100 / (epoch + 1) + offset},{9 / (epoch + 1)},\n")
            file.write(f"{epoch},{step},{5 / (epoch + 1) + offset},,,\n")
            file.write(f",{step},,,,0.001\n")
    return path


def drawing(path: Path) -> np.ndarray:
    """The picture as grey values, 0 black; the file must be a PNG."""
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    return imread(path)[:, :, :3].mean(axis=2)


def colours(path: Path) -> int:
    pixels = imread(path)[:, :, :3].reshape(-1, 3)
    return len(np.unique((255 * pixels).astype(int), axis=0))


def test_curves_of_a_run(tmp_path: Path):
    curves = read_curves([log(tmp_path / "csv_0" / "metrics.csv", range(3))])
    assert set(curves) == {"train_loss", "val_forces_mae", "val_energy_per_atom_mae"}
    assert curves["train_loss"].tolist() == [[0, 5], [1, 2.5], [2, 5 / 3]]
    assert curves["val_forces_mae"].tolist() == [[0, 100], [1, 50], [2, 100 / 3]]


def test_curves_of_a_resumed_run_are_one(tmp_path: Path):
    first = log(tmp_path / "csv_0" / "metrics.csv", range(4))
    second = log(tmp_path / "csv_1" / "metrics.csv", range(2, 6), offset=1000.0)
    curve = read_curves([first, second])["val_forces_mae"]
    assert curve[:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert (curve[:, 1] > 1000).tolist() == [False, False, True, True, True, True]


def test_a_learning_curve_is_drawn(tmp_path: Path):
    path = tmp_path / "curve.png"
    learning_curve([log(tmp_path / "a" / "metrics.csv", range(20))], path)
    image = drawing(path)
    halves = np.array_split(image, 2, axis=1)
    assert all((half < 0.9).mean() > 0.01 for half in halves), "both panels have content"
    assert colours(path) > 20


@pytest.mark.parametrize("epochs", [range(0), range(1)], ids=["none", "one"])
def test_a_learning_curve_of_hardly_any_epochs(tmp_path: Path, epochs: range):
    path = tmp_path / "curve.png"
    learning_curve([log(tmp_path / "a" / "metrics.csv", epochs)], path)
    assert drawing(path).min() < 0.5


def test_a_learning_curve_without_validation(tmp_path: Path):
    logged = tmp_path / "metrics.csv"
    logged.write_text("epoch,step,train_loss\n0,2,1.0\n1,5,0.5\n")
    path = tmp_path / "curve.png"
    learning_curve([logged], path)
    assert drawing(path).min() < 0.5


def test_a_parity_plot_is_drawn(tmp_path: Path):
    rng = np.random.default_rng(0)
    labels = rng.normal(size=500)
    close = {"test": (labels, labels + 0.1 * rng.normal(size=500))}
    path = tmp_path / "parity.png"
    parity(
        {"energy": close, "forces": close | {"train": (labels, labels)}},
        {"energy": "energy, meV/atom", "forces": "forces, eV/A"},
        path,
    )
    two = drawing(path)
    parity({"forces": close}, {"forces": "forces, eV/A"}, path)
    one = drawing(path)
    assert two.shape[1] > 1.8 * one.shape[1], "a panel for each target"
    assert all((half < 0.9).mean() > 0.01 for half in np.array_split(two, 2, axis=1))


def test_points_lie_where_they_belong(tmp_path: Path):
    labels = np.linspace(-1.0, 1.0, 400)
    path = tmp_path / "parity.png"
    units = {"forces": "forces, eV/A"}
    parity({"forces": {"test": (labels, labels)}}, units, path)
    diagonal = np.argwhere((drawing(path) < 0.9)[100:-100, 200:-100])
    assert np.corrcoef(diagonal.T)[0, 1] < -0.3, "rows count downwards"
    parity({"forces": {"test": (labels, -labels)}}, units, path)
    falling = np.argwhere((drawing(path) < 0.9)[100:-100, 200:-100])
    assert np.corrcoef(falling.T)[0, 1] > np.corrcoef(diagonal.T)[0, 1] + 0.3


@pytest.mark.parametrize("value", [0.0, -3.5])
def test_a_parity_plot_of_one_value(tmp_path: Path, value: float):
    same = np.array([value])
    path = tmp_path / "parity.png"
    parity({"energy": {"test": (same, same)}}, {"energy": "energy"}, path)
    assert drawing(path).min() < 0.5


def test_many_targets_take_several_rows(tmp_path: Path):
    pair = (np.array([0.0, 1.0]), np.array([0.1, 0.9]))
    pairs = {f"t{k}": {"test": pair} for k in range(6)}
    parity(pairs, {name: name for name in pairs}, tmp_path / "many.png")
    height, width, _ = imread(tmp_path / "many.png").shape
    assert width == pytest.approx(4 * 5.2 * 150, abs=2)
    assert height == pytest.approx(2 * 4.4 * 150, abs=2)
