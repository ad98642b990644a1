from __future__ import annotations

import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest

from hermnet import cli
from hermnet.cli import main
from hermnet.errors import InputError, InputErrors

HEAVY = ("torch", "pytorch_lightning", "numpy", "omegaconf", "ase", "matplotlib")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """What the command line asks of runs and recipes, which do nothing here."""
    asked: list[tuple[str, dict[str, Any]]] = []
    runs, config = ModuleType("hermnet.run.commands"), ModuleType("hermnet.recipes.config")
    for name in ("fit", "validate", "test", "predict"):

        def record(recipe: object, *, name: str = name, **options: object) -> None:
            asked.append((name, {"recipe": recipe, **options}))

        runs.__dict__[name] = record

    class Recipe(tuple[str, list[str]]):
        def to_yaml(self) -> str:
            return f"name: {self[0]}\n"

    config.__dict__["resolve"] = lambda source, overrides: Recipe((source, overrides))
    monkeypatch.setitem(sys.modules, "hermnet.run.commands", runs)
    monkeypatch.setitem(sys.modules, "hermnet.recipes.config", config)
    monkeypatch.setattr("hermnet.run.commands", runs, raising=False)
    monkeypatch.setattr("hermnet.recipes.config", config, raising=False)
    return asked


def test_a_fit_with_overrides_anywhere(calls: list[Any]):
    argv = ["fit", "model.subnet=schnet", "--config", "quickstart", "trainer.max_epochs=3"]
    assert main([*argv, "--overwrite", "model.relations=pair"]) == 0
    recipe = ("quickstart", ["model.subnet=schnet", "trainer.max_epochs=3", "model.relations=pair"])
    assert calls == [("fit", {"recipe": recipe, "resume": None, "overwrite": True})]


@pytest.mark.parametrize(
    ("argv", "resume", "overrides"),
    [
        (["--resume"], "last", []),
        (["--resume", "model.cutoff=4"], "last", ["model.cutoff=4"]),
        (["--resume", "runs/a/epoch=3.ckpt"], "runs/a/epoch=3.ckpt", []),
        (["model.cutoff=4", "--resume", "epoch=3.ckpt"], "epoch=3.ckpt", ["model.cutoff=4"]),
    ],
)
def test_resume_with_and_without_a_checkpoint(
    calls: list[Any], argv: list[str], resume: str, overrides: list[str]
):
    assert main(["fit", "--config", "quickstart", *argv]) == 0
    recipe = ("quickstart", overrides)
    assert calls == [("fit", {"recipe": recipe, "resume": resume, "overwrite": False})]


@pytest.mark.parametrize("command", ["validate", "test"])
def test_a_checkpoint_for_the_other_commands(calls: list[Any], command: str):
    assert main([command, "--config", "quickstart"]) == 0
    assert main([command, "--config", "quickstart", "--checkpoint", "best.ckpt"]) == 0
    assert [options["checkpoint"] for _, options in calls] == [None, "best.ckpt"]
    assert [name for name, _ in calls] == [command, command]


@pytest.mark.parametrize("variable", ["RANK", "SLURM_PROCID"])
def test_only_training_is_shared_between_processes(
    variable: str, calls: list[Any], monkeypatch: pytest.MonkeyPatch
):
    for number, expected in {"0": ["test", "fit"], "1": ["fit"]}.items():
        monkeypatch.setenv(variable, number)
        calls.clear()
        for command in ("test", "fit"):
            assert main([command, "--config", "quickstart"]) == 0
        assert [name for name, _ in calls] == expected


@pytest.mark.parametrize("variable", ["LOCAL_RANK", "SLURM_LOCALID"])
def test_a_mistake_is_one_line_for_all_processes_of_a_machine(
    variable: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    for number, said in {"0": "error", "1": ""}.items():
        monkeypatch.setenv(variable, number)
        assert main(["fit"]) == 2
        assert capsys.readouterr().err.partition(":")[0] == said


def test_predict_takes_an_output(calls: list[Any]):
    argv = ["predict", "--config", "quickstart", "--checkpoint", "a.ckpt", "--output", "a.xyz"]
    assert main(argv) == 0
    recipe: tuple[str, list[str]] = ("quickstart", [])
    options = {"recipe": recipe, "checkpoint": "a.ckpt", "output": "a.xyz"}
    assert calls == [("predict", options)]


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_print_config_runs_nothing(
    calls: list[Any], capsys: pytest.CaptureFixture[str], command: str
):
    assert main([command, "--config", "quickstart", "--print-config"]) == 0
    assert capsys.readouterr().out == "name: quickstart\n"
    assert calls == []


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "the following arguments are required: command"),
        (["fti"], "invalid choice: 'fti' (choose from"),
        (["fit"], "--config is missing: give a recipe's name (hermnet list configs) or a path"),
        (["fit", "--config"], "argument --config: expected one argument"),
        (["fit", "--cofnig", "quickstart"], "unknown option '--cofnig'; did you mean '--config'?"),
        (["fit", "--conf", "quickstart"], "unknown option '--conf'; did you mean '--config'?"),
        (["fit", "--checkpoint=a"], "unknown option '--checkpoint'; "),
        (["list", "subnet"], "invalid choice: 'subnet' (choose from 'subnets', 'relations'"),
        (["list", "subnets", "a.b=3"], "unexpected 'a.b=3'; see hermnet list --help"),
        (["fit", "--config", "quikstart"], "unknown recipe 'quikstart'; did you mean 'quickstart'"),
        (["fit", "--config", "no/recipe.yaml"], "there is no recipe file 'no/recipe.yaml'"),
        (["fit", "--config", "quickstart", "model.x"], "override 'model.x': write section.option="),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], argv: list[str], message: str
):
    assert main(argv) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    assert message in printed.err
    assert printed.out == ""


def test_several_mistakes_are_several_lines(capsys: pytest.CaptureFixture[str]):
    argv = ["fit", "--config", "quickstart", "model.cutof=3", "trainer.max_epoch=1", "modle.x=1"]
    assert main(argv) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("error: ") for line in lines)


def raising(error: BaseException) -> Any:
    def run(_: object) -> None:
        raise error

    return run


def interrupted_in_lightning(_: object) -> None:
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        sys.exit(1)


@pytest.mark.parametrize(
    ("run", "code"),
    [
        (raising(InputError("no")), 2),
        (raising(InputErrors(["no", "never"])), 2),
        (raising(KeyboardInterrupt()), 130),
        (interrupted_in_lightning, 130),
    ],
)
def test_exit_codes(monkeypatch: pytest.MonkeyPatch, run: Any, code: int):
    monkeypatch.setattr(cli, "_list", run)
    assert main(["list", "configs"]) == code


@pytest.mark.parametrize("error", [ValueError("a bug"), SystemExit(3)])
def test_anything_else_goes_through(monkeypatch: pytest.MonkeyPatch, error: BaseException):
    monkeypatch.setattr(cli, "_list", raising(error))
    with pytest.raises(type(error)):
        main(["list", "configs"])


@pytest.mark.parametrize("argv", [["--help"], ["--version"], ["fit", "--help"], ["list", "--help"]])
def test_help_and_version_import_nothing_heavy(argv: list[str]):
    program = (
        "import sys\n"
        "from hermnet.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit as end:\n    assert not end.code\n"
        f"assert not set({HEAVY}) & set(sys.modules), sorted(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *argv], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("hermnet " if argv == ["--version"] else "usage: hermnet")


def test_list_of_relations(capsys: pytest.CaptureFixture[str]):
    assert main(["list", "relations"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["none", "vertex", "pair", "triadic"]
    assert all(len(line.split()) > 3 for line in lines[:4])
    modes = [line.split()[0] for line in lines if line.startswith("    ")]
    assert modes == ["full", "filters", "update"]


def test_list_of_sub_networks_and_data_modules_shows_options(capsys: pytest.CaptureFixture[str]):
    assert main(["list", "subnets"]) == 0
    out = capsys.readouterr().out
    assert {"painn", "schnet", "nequip", "rmconv"} <= {
        line.split(" ")[0] for line in out.split("\n")
    }
    assert "cannot be imported" not in out
    assert main(["list", "datamodules"]) == 0
    out = capsys.readouterr().out
    assert "\n    molecule: str = 'ethanol'\n        as in the file names" in out


def test_list_of_readouts_shows_options(capsys: pytest.CaptureFixture[str]):
    assert main(["list", "readouts"]) == 0
    out = capsys.readouterr().out
    names = [line.split(" ")[0] for line in out.splitlines() if line[0] != " "]
    assert names == ["energy", "scalar", "dipole", "spatial_extent", "polarizability"]
    assert "\n    norm: bool = False\n        whether the label is the length of" in out
    assert "n_channels" not in out


def test_list_of_configs(capsys: pytest.CaptureFixture[str]):
    assert main(["list", "configs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {"quickstart", "rmd17_ethanol"} <= {line.split()[0] for line in lines}
    assert all(len(line.split()) > 3 for line in lines)


@pytest.fixture
def data_calls(
    monkeypatch: pytest.MonkeyPatch, calls: list[tuple[str, dict[str, Any]]]
) -> list[tuple[str, dict[str, Any]]]:
    """The same for `hermnet.run.datasets`."""
    datasets = ModuleType("hermnet.run.datasets")
    for name in ("check_data", "convert_data"):

        def record(recipe: object, *given: object, name: str = name, **options: object) -> None:
            calls.append((name, {"given": given, **options}))

        datasets.__dict__[name] = record
    monkeypatch.setitem(sys.modules, "hermnet.run.datasets", datasets)
    monkeypatch.setattr("hermnet.run.datasets", datasets, raising=False)
    return calls


def test_data_commands(data_calls: list[Any]):
    assert main(["data", "check", "--config", "mlearn", "data.n_val=5"]) == 0
    assert (
        main(["data", "convert", "--config", "mlearn", "--output", "db", "--split", "train"]) == 0
    )
    assert data_calls == [
        ("check_data", {"given": (), "output": None}),
        (
            "convert_data",
            {"given": ("db",), "splits": ["train"], "workers": 1, "overwrite": False},
        ),
    ]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["data"], "the following arguments are required: action"),
        (["data", "chek"], "invalid choice: 'chek'"),
        (["data", "convert", "--output", "x"], "--config is missing"),
        (
            ["data", "convert", "--output", "y", "--confg", "x"],
            "unknown option '--confg'; did you mean '--config'",
        ),
        (["data", "convert", "--config", "x"], "required: --output; see hermnet data convert"),
    ],
)
def test_data_commands_given_wrongly(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    assert main(argv) == 2
    assert message in capsys.readouterr().err
