from __future__ import annotations

from pathlib import Path

import pytest

from ablations import base
from hermnet import cli
from hermnet.recipes.source import studies

GRID = ["--grid", "model.subnet=painn,schnet", "--grid", "model.relations=none,vertex"]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> str:
    return base(tmp_path_factory.mktemp("commands")).config


def error(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.main(argv) == 2
    return capsys.readouterr().err


def test_axes_are_no_overrides():
    argv = ["ablate", "--config", "quickstart", *GRID, "model.n_layers=2", "--baseline"]
    arguments = cli._parse([*argv, "model.subnet=schnet"])
    assert arguments.overrides == ["model.n_layers=2"]
    assert arguments.grid == ["model.subnet=painn,schnet", "model.relations=none,vertex"]
    assert arguments.baseline == ["model.subnet=schnet"]


def test_a_dry_run_lists_runs_and_writes_nothing(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    output = tmp_path / "grid"
    argv = ["ablate", "--config", config, *GRID, "--seeds", "2", "--dry-run", "--jobs", "2"]
    assert cli.main([*argv, "--output", str(output)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 9
    assert lines[0].split()[:3] == ["painn-none-s0", "293", "parameters"]
    assert lines[-1].startswith("8 runs, 8 to do, 2 at a time: about 0:00:")
    assert not output.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "the grid is empty: give --grid section.option=value,value or a section"),
        (["--grid", "model.subnet="], "the grid is empty for model.subnet"),
        (["--grid", "model.relation=none"], "model.relation: unknown option; did you mean 'rel"),
        (
            ["--grid", "model.subnet=pain,schnet"],
            "run pain: model.subnet.name: unknown sub",
        ),
        ([*GRID, "--seeds", "x"], "seeds: a number of seeds, or a list"),
        ([*GRID, "--equal", "cost"], "argument --equal: invalid choice: 'cost'"),
        ([*GRID, "--baseline", "model.subnet=painn,schnet"], "model.subnet: one value, not 2"),
        ([*GRID, "--jobs", "0"], "--jobs must be at least 1, not 0"),
        ([*GRID, "--cluster-option", "timeout"], "--cluster-option 'timeout': write name=value"),
        ([*GRID, "--job", "1"], "unknown option '--job'; did you mean '--jobs'"),
        ([*GRID, "reprot"], "unexpected 'reprot'; see hermnet ablate --help"),
    ],
)
def test_bad_input_is_a_line_and_writes_nothing(
    config: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
):
    output = tmp_path / "grid"
    told = error(["ablate", "--config", config, "--output", str(output), *options], capsys)
    assert message in told
    assert len(told.splitlines()) == 1
    assert not output.exists()


def test_a_report_wants_a_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    assert "say which FOLDER" in error(["ablate", "report"], capsys)
    told = error(["ablate", "report", str(tmp_path)], capsys)
    assert "is no ablation's folder: it has no plan.json" in told
    assert "--config is missing" in error(["ablate"], capsys)


def test_other_commands_send_a_study_here(capsys: pytest.CaptureFixture[str]):
    told = error(["fit", "--config", "ethanol_quick"], capsys)
    assert (
        told == "error: grid: this recipe is a study of several runs; give it to hermnet ablate\n"
    )


def test_a_study_is_found_by_name_and_listed(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["list", "studies"]) == 0
    listed = capsys.readouterr().out
    for name, path in studies().items():
        assert f"{name} " in listed
        assert path.read_text(encoding="utf-8").startswith("# ")


def test_a_quick_study_is_made_of_what_is_shipped(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    few = ["data.n_train=20", "data.n_val=5", "data.n_test=5"]
    argv = ["ablate", "--config", "ethanol_quick", "--dry-run", "--output", str(tmp_path / "x")]
    assert cli.main([*argv, *few]) == 0
    lines = capsys.readouterr().out.splitlines()
    counts = [int(line.split()[1].replace(",", "")) for line in lines[:-1]]
    assert len(counts) == 12
    assert max(counts) < 1.04 * min(counts)
