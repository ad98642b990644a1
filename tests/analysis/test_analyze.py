"""`hermnet analyze` from checkpoint and frames to files."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import properties
import tiny
from checkpoints import save_model, save_potential
from hermnet.analysis.analysis import AnalysisSettings, analyze
from hermnet.checkpoints.checkpoint import load_potential
from hermnet.cli import main
from hermnet.errors import InputError, InputErrors
from hermnet.graph import AtomicGraph
from hermnet.model_options import ModelOptions
from hermnet.neighbors import graph_from_atoms
from hermnet.recipes.config import Recipe
from hermnet.run.evaluation import evaluate_split
from hermnet.training.options import TrainingOptions

ELEMENTS = (1, 6, 7, 8)  # no frame has N
N_EDGES = {"H": 20, "C": 5, "O": 5}  # of methanol within 3 A


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("frames") / "methanol.xyz"
    return tiny.write(path, [tiny.methanol(seed) for seed in range(4)])


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times mean nothing here, so that they may be taken of little."""
    monkeypatch.setattr("hermnet.analysis.frames._BATCH", 200)
    monkeypatch.setattr("hermnet.analysis.timing._ROUNDS", 2)


def graph_of(seed: int) -> AtomicGraph:
    atoms = tiny.methanol(seed)
    energy = torch.tensor([atoms.get_potential_energy()], dtype=torch.float64)
    forces = torch.from_numpy(atoms.get_forces())
    return replace(graph_from_atoms(atoms, 3.0), energy=energy, forces=forces)


def run(folder: Path, frames: Path, *options: str, **model: Any) -> dict[str, Any]:
    """The JSON of an analysis of a random potential, the files checked."""
    checkpoint = save_potential(folder / "best.ckpt", ELEMENTS, **model)
    output = folder / "found"
    arguments = [str(checkpoint), "--data", str(frames), "--output", str(output), *options]
    assert main(["analyze", *arguments]) == 0
    found: dict[str, Any] = json.loads((output / "analysis.json").read_text())
    with (output / "relations.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["relation"] for row in rows] == [one["relation"] for one in found["relations"]]
    text = (output / "report.md").read_text()
    for picture in output.glob("*.png"):
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert f"![{picture.name}]({picture.name})" in text
    return found


def test_vertex(tmp_path: Path, frames: Path, capsys: pytest.CaptureFixture[str]):
    found = run(tmp_path, frames)
    potential = load_potential(tmp_path / "best.ckpt")
    graphs = [graph_of(seed) for seed in range(4)]
    expected = evaluate_split(potential, graphs)
    assert found["mae"]["forces"] == pytest.approx(expected.errors["forces_mae"])
    by_name = {one["relation"]: one for one in found["relations"]}
    for label, error in expected.forces_by["relations"].items():
        assert by_name[label]["force_mae_of_served_meV_per_A"] == pytest.approx(error.mae)
        assert by_name[label]["atoms_served"] == error.n_atoms
        assert by_name[label]["forces_mae_rise_when_off"] != 0.0
        assert by_name[label]["edges_in_frames"] == 4 * N_EDGES[label]
    assert by_name["N"]["time_share"] is None, "no frame has it"
    assert found["examined"] == ["H", "C", "O"]
    assert sum(by_name[label]["time_share"] for label in "HCO") == pytest.approx(1.0)
    rises = found["exchange"]["rises"]
    assert [rises[k][k] for k in range(3)] == [0.0, 0.0, 0.0]
    assert all(rises[k][j] != 0.0 for k in range(3) for j in range(3) if j != k)
    assert {"interaction", "layer", "cosine", "distance"} == set(found["likeness_of_weights"][0])
    assert {path.name for path in (tmp_path / "found").glob("*.png")} == {
        "relations.png",
        "weights.png",
    }
    printed = capsys.readouterr().out
    assert "4 of 4 train frames; MAE: energy " in printed
    assert "Switching off " in printed
    assert printed.endswith(f"written: {tmp_path / 'found'}\n")


def test_one_relation_has_nothing_to_compare(tmp_path: Path, frames: Path):
    found = run(tmp_path, frames, relations="none")
    assert found["findings"][0].startswith("There is one relation, 'all'")
    (only,) = found["relations"]
    assert only["time_share"] == 1.0
    assert only["forces_mae_rise_when_off"] != 0.0
    assert not list((tmp_path / "found").glob("*.png"))


@pytest.mark.parametrize(
    ("relations", "examined"),
    [
        ("pair", {"H-H", "H-C", "H-O", "C-H", "C-O", "O-H", "O-C"}),
        ("triadic", {"H-*-H", "H-*-C", "H-*-O", "C-*-C", "C-*-O", "O-*-O"}),
    ],
)
def test_pairs_and_triplets(tmp_path: Path, frames: Path, relations: str, examined: set[str]):
    found = run(tmp_path, frames, "--frames", "2", "--exchange", "0", relations=relations)
    assert set(found["examined"]) == examined
    assert found["split"] == {"name": "train", "frames": 2, "of": 4}
    assert "exchange" not in found
    assert any("more than --exchange 0" in sentence for sentence in found["findings"])


def test_shared_weights_have_nothing_to_exchange(tmp_path: Path, frames: Path):
    found = run(tmp_path, frames, "--frames", "1", relations="pair", sharing="shared")
    assert "Weights were not exchanged: all relations have the same." in " ".join(found["findings"])
    assert {one["parameters"] for one in found["relations"]} == {0}


def test_classes_and_several_sub_networks(tmp_path: Path, frames: Path):
    classes = {"light": ["H"], "heavy": ["C", "N", "O"]}
    subnet = {"default": {"name": "painn"}, "light": {"name": "schnet"}}
    found = run(tmp_path, frames, "--frames", "1", classes=classes, subnet=subnet)
    assert found["examined"] == ["light", "heavy"]
    assert found["classes"] == {"light": [1], "heavy": [6, 7, 8]}
    assert "every relation has a sub-network of its own." in found["findings"][-1]


def test_several_sub_networks_exchange_nothing_with_each_other(tmp_path: Path, frames: Path):
    subnet = {"default": {"name": "painn"}, "H": {"name": "schnet"}}
    found = run(tmp_path, frames, "--frames", "1", subnet=subnet)
    rises = found["exchange"]["rises"]
    assert rises[0][1:] == [None, None]
    assert rises[1][2] != 0.0


def test_the_relations_with_most_edges_come_first(tmp_path: Path, frames: Path):
    found = run(tmp_path, frames, "--relations", "1", "--frames", "1", sharing="basis:2")
    assert found["examined"] == ["H"]
    assert "Looked at 1 of 3 relations, those with most edges." in found["findings"]


def test_properties(tmp_path: Path):
    frames = [properties.ethanol(seed) for seed in range(2)]
    for k, atoms in enumerate(frames):
        atoms.info["gap"], atoms.info["u0"] = 5.0 + k, -1.0
    data = {"train": str(tiny.write(tmp_path / "gap.xyz", frames))}
    data |= {"name": "extxyz", "scalars": {"gap": "eV", "u0": "eV"}}
    model = properties.random_model("mean")
    path = save_model(tmp_path / "gap.ckpt", model)
    recipe = Recipe("gap", data, ModelOptions(), TrainingOptions(), {})
    found = analyze(path, recipe, AnalysisSettings(exchange=3)).found
    assert (found.main, set(found.errors.targets)) == ("gap", {"gap", "u0"})
    rises = [found.rise(facts, "gap") for facts in found.looked_at]
    assert len(rises) == 3
    assert all(rises)
    assert found.sentences()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--split", "tets"], r"the data have no 'tets' frames; splits with frames: train \(4\)"),
        (["--frames", "0"], "--frames must be at least 1, not 0"),
        (["--threads", "0"], "--threads must be at least 1, not 0"),
        (["--device", "gpu7"], "the device 'gpu7' cannot be used"),
        (["--config", "quickstart"], "give --config or --data, not both"),
        (["data.batch_size=3"], "'data.batch_size=3' changes a recipe; give that recipe with"),
        (["--ouput", "x"], "unknown option '--ouput'; did you mean '--output'"),
        (["--output", "."], "holds other files too"),
    ],
)
def test_what_cannot_be_done(
    tmp_path: Path,
    frames: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
):
    monkeypatch.chdir(tmp_path)
    save_potential(tmp_path / "best.ckpt", ELEMENTS)
    assert main(["analyze", "best.ckpt", "--data", str(frames), *options]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.ckpt"]


def test_frames_that_do_not_fit(tmp_path: Path, frames: Path):
    recipe = Recipe(
        "data", {"name": "extxyz", "train": str(frames)}, ModelOptions(), TrainingOptions(), {}
    )
    path = save_potential(tmp_path / "best.ckpt", (1, 6))
    with pytest.raises(InputError, match="the train frames have O, which the model does not know"):
        analyze(path, recipe)
    nothing = tiny.write(tmp_path / "bare.xyz", [properties.ethanol()])
    bare = {"name": "extxyz", "train": str(nothing), "missing": "mask"}
    with pytest.raises(InputError, match="no labels of what the model predicts"):
        analyze(save_potential(tmp_path / "a.ckpt", ELEMENTS), replace(recipe, data=bare))
    with pytest.raises(InputError, match="there is no checkpoint"):
        analyze(tmp_path / "none.ckpt", recipe)
    with pytest.raises(InputErrors, match=r"data: missing in the stored recipe"):
        analyze(path)  # a checkpoint that does not say what it was trained with
    with pytest.raises(InputErrors, match="--exchange must be at least 0"):
        AnalysisSettings(exchange=-1)
