from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from matplotlib.image import imread

import tiny
from hermnet.cli import main
from hermnet.run import commands as runs
from hermnet.run.bars import error_bars
from hermnet.run.plots import new_figure

pytestmark = pytest.mark.filterwarnings("ignore:relations with few training edges")
DRAWN = ("learning_curve.png", "parity.png", "errors_by_element.png", "errors_by_element.json")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> runs.Run:
    folder = tmp_path_factory.mktemp("finished")
    options = ("trainer.logger=csv", "model.relations=pair", "trainer.max_epochs=1")
    return runs.fit(tiny.recipe(folder, tiny.data(folder / "data"), *options))


def test_errors_by_element_are_those_of_all_atoms(finished: runs.Run):
    stored = json.loads(finished.folder.element_errors.read_text())
    assert stored["unit"] == "meV/A"
    assert set(stored["splits"]) == {"train", "val", "test"}
    for split, groups in stored["splits"].items():
        elements, n_frames = groups["elements"], tiny.N_FRAMES[split]
        sizes = {label: error["n_atoms"] for label, error in elements.items()}
        assert sizes == {"H": 4 * n_frames, "C": n_frames, "O": n_frames}
        mean = sum(e["mae"] * e["n_atoms"] for e in elements.values()) / (6 * n_frames)
        assert mean == pytest.approx(finished.results[split].errors["forces_mae"], rel=1e-6)
        assert {"C-O", "O-C", "H-C"} <= set(groups["relations"])
        assert groups["relations"]["C-O"] == pytest.approx(elements["O"])  # each O has its C


@pytest.mark.parametrize("by_recipe", [True, False], ids=["recipe", "folder"])
def test_drawing_a_run_again(
    finished: runs.Run, capsys: pytest.CaptureFixture[str], by_recipe: bool
):
    folder = finished.folder.path
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for name in DRAWN:
        (folder / name).unlink()
    given = ["--config", str(folder.parent / "tiny.yaml")] if by_recipe else [str(folder)]
    options = ["model.relations=pair"] if by_recipe else []
    assert main(["plot", *given, *options]) == 0
    assert {path for path in folder.rglob("*") if path.is_file()} == set(before)
    for path, content in before.items():
        assert path.read_bytes() == content, path
    for picture in folder.glob("*.png"):
        assert imread(picture).std() > 0.05, "something is drawn"
    out = capsys.readouterr().out
    assert out.startswith("plots: ")
    assert all(name in out for name in DRAWN[:3])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["."], "error: . is no run's folder: it has no recipe.yaml\n"),
        (["nowhere"], "error: there is no folder nowhere; give the folder of a run\n"),
        ([], "error: --config is missing: "),
    ],
    ids=["another", "none", "nothing"],
)
def test_a_folder_that_is_no_run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    given: list[str],
    message: str,
):
    monkeypatch.chdir(tmp_path)
    assert main(["plot", *given]) == 2
    assert capsys.readouterr().err.startswith(message)
    assert list(tmp_path.iterdir()) == []


def test_of_too_many_groups_the_largest_errors_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    figure, axes = new_figure(1)
    monkeypatch.setattr("hermnet.run.bars.new_figure", lambda n_panels: (figure, axes))
    errors = {f"r{k}": float(k) for k in range(26)}
    error_bars({"by relation": {"val": errors, "test": {"r0": 99.0}}}, "eV", tmp_path / "a.png")
    (axis,) = axes
    shown = ["r0", *(f"r{k}" for k in range(3, 26))]
    assert [label.get_text() for label in axis.get_xticklabels()] == shown
    assert axis.get_title() == "by relation (largest 24 of 26)"
    val, test = (list(bars.datavalues) for bars in axis.containers)
    assert val == [errors[name] for name in shown]
    assert test == pytest.approx([99.0, *[math.nan] * 23], nan_ok=True)
    assert imread(tmp_path / "a.png").std() > 0.05
