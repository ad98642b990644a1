from __future__ import annotations

import re
from pathlib import Path

import pytest

import tiny
from hermnet.run import commands as runs
from hermnet.run.plots import ENERGY_CURVES, read_curves
from hermnet.training.progress import ProgressLines, Shown, TrainingBar, progress_callbacks

pytestmark = pytest.mark.filterwarnings("ignore:relations with few training edges")
SHOWN = Shown("val_forces_mae", ENERGY_CURVES)
LINE = re.compile(
    r"epoch (\d)/3 \| loss (\S+) \(energy (\S+), forces (\S+)\) \| val MAE forces (\S+) meV/A, "
    r"energy (\S+) meV/atom \| lr (\S+) \| \S+ steps/s \| \S+ atoms/s \| (\d:\d\d:\d\d) left"
)


def test_a_line_for_each_epoch_with_the_numbers_of_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    recipe = tiny.recipe(
        tmp_path,
        tiny.data(tmp_path / "data"),
        "trainer.enable_progress_bar=true",
        "trainer.max_epochs=3",
        "trainer.logger=csv",
        "training.warmup_steps=4",
        "training.scheduler.class_path=torch.optim.lr_scheduler.ExponentialLR",
        "training.scheduler.gamma=0.5",
    )
    run = runs.fit(recipe)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    found = [match.groups() for line in lines if (match := LINE.fullmatch(line))]
    assert len(found) == len(lines) == 3, lines
    assert [numbers[0] for numbers in found] == ["1", "2", "3"]
    curves = read_curves(run.folder.metrics())
    names = ("train_loss", "train_energy_loss", "train_forces_loss")
    for place, name in enumerate((*names, "val_forces_mae", "val_energy_per_atom_mae"), 1):
        told = [float(numbers[place]) for numbers in found]
        assert told == pytest.approx(curves[name][:, 1], rel=5e-3), name
    # three steps an epoch, of which the first three warm up, and half the rate from then on
    assert [numbers[6] for numbers in found] == ["0.0075", "0.005", "0.0025"]
    assert found[-1][7] == "0:00:00"


def test_a_long_epoch_says_where_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("hermnet.training.progress._SILENCE", 0.0)
    options = ("trainer.enable_progress_bar=true", "trainer.max_epochs=1", "trainer.logger=false")
    runs.fit(tiny.recipe(tmp_path, tiny.data(tmp_path / "data"), *options))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    assert [line.split(" | ")[1][:9] for line in lines[:2]] == ["batch 1/3", "batch 2/3"]
    assert len(lines) == 3, "the last batch is told by the epoch's line"


def test_names_and_units():
    assert SHOWN.parts("val_stress_mae") == ("stress", "meV/A^3")
    assert Shown("val_mass_mae", {"val_mass_mae": "mass"}).parts("val_mass_mae") == ("mass", "")
    errors = {"val_energy_per_atom_mae": 0.81234, "val_forces_mae": 31.23456, "other": 1.0}
    assert SHOWN.line(errors) == "forces 31.23 meV/A, energy 0.8123 meV/atom"
    assert SHOWN.line({}) == ""


@pytest.mark.parametrize(("terminal", "kind"), [(True, TrainingBar), (False, ProgressLines)])
def test_a_bar_for_a_terminal_only(monkeypatch: pytest.MonkeyPatch, terminal: bool, kind: type):
    class Terminal:
        is_interactive, is_jupyter = terminal, False

    monkeypatch.setattr("hermnet.training.progress.Console", Terminal)
    assert [type(callback) for callback in progress_callbacks(SHOWN)][1:] == [kind]
