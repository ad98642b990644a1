from __future__ import annotations

from pathlib import Path

import pytest

import tiny
from hermnet.checkpoints.checkpoint import load_model, read_checkpoint
from hermnet.checkpoints.report import report
from hermnet.cli import main
from hermnet.run import commands as runs

FOLDER = Path(__file__).parent / "reference"


@pytest.mark.filterwarnings("ignore:relations with few training edges")
def test_what_a_checkpoint_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    recipe = tiny.recipe(tmp_path, tiny.data(tmp_path / "data"), "trainer.logger=false")
    best = runs.fit(recipe).folder.best
    capsys.readouterr()
    assert main(["inspect", str(best)]) == 0
    printed = capsys.readouterr().out
    stored, model = read_checkpoint(best), load_model(best)
    assert stored.relations == {"H": 160, "C": 40, "O": 40}
    for line in (
        f"checkpoint: {best} (format 3)",
        f"saved after: the end of epoch {stored.epoch + 1}, {stored.step} steps",
        "elements: H, C, O",
        "targets: energy (eV), forces (eV/A), stress (eV/A^3)",
        "relations and their training edges:\n  H  160\n  C  40\n  O  40\n",
        f"  train  {stored.fingerprints['train']}\n",
        "  relations: vertex\n",
    ):
        assert line in printed
    n_parameters = sum(p.numel() for p in model.parameters())
    assert ["all", str(n_parameters)] in [line.split() for line in printed.splitlines()]
    assert f"{stored.metrics['val_forces_mae']:.6g}" in printed.split("val_forces_mae", 1)[1][:40]
    assert f"hermnet            {stored.versions['hermnet']}" in printed


def test_an_old_checkpoint_says_what_it_can():
    lines = report(str(FOLDER / "format_1.ckpt"))
    assert lines[0].endswith("format_1.ckpt (format 1)")
    assert "relations: not said in this format" in lines
    assert any(line.split() == ["router.layers.0", "234"] for line in lines)


def test_inspecting_something_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "a.ckpt").write_text("hello")
    assert main(["inspect", str(tmp_path / "a.ckpt")]) == 2
    assert "no checkpoint at all" in capsys.readouterr().err
    assert main(["inspect", "a.ckpt", "data.seed=1"]) == 2
    assert "unexpected 'data.seed=1'; see hermnet inspect --help" in capsys.readouterr().err
    assert main(["inspect"]) == 2
