"""README and guides do what they say: code runs, recipes resolve, commands parse."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import units
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from test_layering import ROWS

import hermnet
from hermnet import cli
from hermnet.datamodule import DATAMODULES
from hermnet.properties import running
from hermnet.properties.commands import COMMANDS as PROPERTY_COMMANDS
from hermnet.recipes.config import resolve
from hermnet.recipes.source import read
from hermnet.subnetwork import SUBNETS

ROOT = Path(__file__).parents[1]
# Other pages have tests beside those of what they are about.
PAGES = [
    ROOT / "README.md",
    *(ROOT / "docs" / f"{name}.md" for name in ("data", "training", "use")),
]
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)
TINY = ["data.n_train=20", "data.n_val=5", "data.n_test=10", "trainer.max_epochs=1"]
TINY += ["model.n_channels=8"]


def blocks(language: str) -> list[str]:
    return [code for found, code in BLOCKS if found == language]


def named(code: str) -> str:
    """What a recipe's first line calls it."""
    return code.splitlines()[0].removeprefix("# ")


COMMANDS = [
    shlex.split(line, comments=True)[1:]
    for code in blocks("sh")
    for line in code.splitlines()
    if line.startswith("hermnet ")
]
CHEAP = [argv for argv in COMMANDS if argv[0] == "list" or "--print-config" in argv]
RECIPES = {named(code): code for code in blocks("yaml")}
SUBNET, CONTRACT = (
    code for code in blocks("python") if "@SUBNETS" in code or "SubnetContract" in code
)
USES = {command.name for command in PROPERTY_COMMANDS}


def frames(n_frames: int, seed: int) -> list[Any]:
    """Rattled Cu3Au cells with energy, forces and stress of effective-medium theory."""
    found = []
    for index in range(n_frames):
        atoms = bulk("Cu", "fcc", a=3.8, cubic=True)
        atoms.symbols[0] = "Au"
        atoms.rattle(stdev=0.05, seed=seed + index)
        atoms.calc = EMT()
        xx, yy, zz, yz, xz, xy = atoms.get_stress() * -10 / units.GPa  # VASP's kbar
        results = {"forces": atoms.get_forces(), "stress": [xx, yy, zz, xy, yz, xz]}
        atoms.info["E_dft"] = atoms.get_potential_energy()
        atoms.calc = SinglePointCalculator(atoms, **results)
        found.append(atoms)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A user's folder: the recipes and data that the README speaks of, and a run of quickstart."""
    path = tmp_path_factory.mktemp("readme")
    for name, code in RECIPES.items():
        if name.endswith(".yaml"):
            (path / name).write_text(code, encoding="utf-8")
    ase.io.write(path / "alloy_train.xyz", frames(20, seed=0))
    ase.io.write(path / "alloy_hot.xyz", frames(10, seed=50))
    ase.io.write(path / "alloy_test.xyz", frames(5, seed=100))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        patch.setattr(SUBNETS, "_classes", dict(SUBNETS._classes))
        assert cli.main(["fit", "--config", "quickstart", *TINY]) == 0
        yield path


def test_the_python_blocks_run_in_order(folder: Path, capsys: pytest.CaptureFixture[str]):
    space: dict[str, Any] = {"__name__": "readme"}
    for number, code in enumerate(blocks("python")):
        exec(compile(code, f"python block {number} of README and guides", "exec"), space)
    assert space["prediction"].energy.shape == (1,)
    assert space["prediction"].forces.shape == (9, 3)
    assert not space["prediction"].forces.requires_grad
    assert space["TestAngles"].subnet == "angles"
    assert Path("runs/angles/parity.png").is_file()
    assert re.search(r"^\d+\.\d+ meV/A$", capsys.readouterr().out, flags=re.MULTILINE)


def test_a_sub_network_has_thirty_lines():
    lines = SUBNET[SUBNET.index("@SUBNETS") :].splitlines()
    assert len([line for line in lines if line.strip()]) <= 30


@pytest.mark.parametrize("name", RECIPES)
def test_the_recipes_resolve(name: str, folder: Path):
    if name.endswith(".yaml"):
        assert resolve(name).name == Path(name).stem
    else:
        Path("copy.yaml").write_text(RECIPES[name], encoding="utf-8")
        written = resolve("copy.yaml", [f"name={name}"])
        assert written == resolve(name), f"configs/{name}.yaml is another recipe"


@pytest.mark.parametrize("argv", COMMANDS, ids=" ".join)
def test_the_commands_parse(argv: list[str], folder: Path):
    arguments = cli._parse(argv)
    if argv[0] == "ablate":
        tree = {"grid": None} if arguments.folder else read(arguments.config, arguments.overrides)
        assert arguments.grid or arguments.folder or tree["grid"]
    elif vars(arguments).get("config") is not None:
        resolve(arguments.config, arguments.overrides)


@pytest.mark.parametrize("argv", CHEAP, ids=" ".join)
def test_the_cheap_commands_run(argv: list[str], folder: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.main(argv) == 0
    assert capsys.readouterr().out


def test_a_model_is_analyzed(folder: Path, capsys: pytest.CaptureFixture[str]):
    (argv,) = [argv for argv in COMMANDS if argv[0] == "analyze"]
    assert cli.main([*argv, "--frames", "2"]) == 0
    assert "Switching off " in capsys.readouterr().out
    assert Path("analysis/relations.png").is_file()


def test_the_commands_on_own_data_run(folder: Path):
    small = ["model.n_channels=8", "trainer.max_epochs=1"]
    mine = [argv for argv in COMMANDS if "alloy.yaml" in argv]
    assert [argv[0] for argv in mine] == ["fit", "test", "predict"]
    for argv in mine:
        assert cli.main([*argv, *small]) == 0
    run = Path("runs/alloy")
    assert len(ase.io.read(run / "predictions.xyz", index=":")) == 5
    left = TEXT[TEXT.index("## What a run leaves behind") :].split("##")[1]
    for name in re.findall(r"`([\w/]+\.(?:yaml|ckpt|json|png|csv))`", left):
        assert list(run.rglob(name)), f"{name} is not in the run folder"


@pytest.mark.filterwarnings("ignore:relations with few training edges")
def test_the_recipe_of_properties_runs(folder: Path):
    molecules = [molecule(name) for name in ("CH4", "H2O", "NH3", "CH3OH")] * 5
    for seed, atoms in enumerate(molecules):
        atoms.rattle(stdev=0.05, seed=seed)
    arrays = {
        "n_atoms": [len(atoms) for atoms in molecules],
        "numbers": np.concatenate([atoms.numbers for atoms in molecules]),
        "positions": np.concatenate([atoms.positions for atoms in molecules]),
        "homo_lumo_gap": [0.5 - 0.01 * atoms.positions.std() for atoms in molecules],
        "alpha": [8.0 * len(atoms) for atoms in molecules],
    }
    np.savez("molecules.npz", **arrays)
    few = ["model.n_channels=8", "model.n_layers=1", "trainer.max_epochs=1"]
    assert cli.main(["fit", "--config", "gap.yaml", *few]) == 0
    assert set(json.loads(Path("runs/gap/results.json").read_text())["test"]) == {
        "gap_mae",
        "gap_rmse",
    }


def test_the_data_of_quickstart_are_sound(folder: Path, capsys: pytest.CaptureFixture[str]):
    (argv,) = [argv for argv in COMMANDS if argv[:2] == ["data", "check"]]
    assert cli.main([*argv, "data.n_train=200", "data.n_test=50"]) == 0
    assert "no problem found" in capsys.readouterr().out
    assert Path("runs/quickstart/data_check.png").is_file()


def test_data_are_converted_for_training(folder: Path):
    (argv,) = [argv for argv in COMMANDS if argv[:2] == ["data", "convert"]]
    small = ["data.n_train=20", "data.n_val=5", "data.n_test=10"]
    assert cli.main([*argv, *small]) == 0
    data = DATAMODULES.get("ase_db")(train="ethanol/train", test="ethanol/test")
    data.set_cutoff(5.0)
    assert {split: len(data.graphs(split)) for split in data.splits()} == {"train": 20, "test": 10}


def test_a_potential_is_used(folder: Path, monkeypatch: pytest.MonkeyPatch):
    # EMT stands for a potential that has been trained for more than a few steps
    monkeypatch.setattr(running, "make_calculator", lambda _: EMT())
    monkeypatch.setattr(running, "identity_of", lambda *_: "EMT")
    alloy = bulk("Cu", "fcc", a=3.7, cubic=True)
    alloy.symbols[0] = "Au"
    ase.io.write("alloy.cif", alloy)
    small = {"md": ["--steps", "20", "--every", "2"], "eos": ["--points", "5"], "phonons": []}
    small["phonons"] = ["--supercell", "1", "1", "1", "--mesh", "2", "2", "2"]
    mine = [argv for argv in COMMANDS if argv[0] in USES]
    assert {argv[0] for argv in mine} == USES
    for argv in mine:
        if argv[0] == "phonons" and find_spec("phonopy") is None:
            continue
        assert cli.main([*argv, *small.get(argv[0], [])]) == 0, argv
        output = Path(argv[argv.index("--output") + 1] if "--output" in argv else argv[0])
        assert {".csv", ".json", ".png"} <= {path.suffix for path in output.iterdir()}


def test_the_make_targets_call_what_the_readme_says():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("$(BIN)", ".venv/bin")
    for target in ("quickstart", "test"):
        assert f"make {target}" in TEXT
        recipe = re.search(rf"^{target}:.*\n\t(.*)$", makefile, flags=re.MULTILINE)
        assert recipe is not None
        assert any(line.startswith(recipe[1]) for line in TEXT.splitlines()), recipe[1]
    assert '.venv/bin/python -m pip install -e ".[test]"' in TEXT
    assert 'install -q -e ".[test]"' in makefile


@pytest.mark.parametrize(
    "page", [PAGES[0], *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.stem
)
def test_the_links_lead_somewhere(page: Path):
    for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / link).exists(), link


def test_the_architecture_names_every_module_at_its_level():
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    named = {
        (int(level), module)
        for level, cell in re.findall(r"^\| (\d) \| ([^;|]*)", text, flags=re.MULTILINE)
        for module in re.findall(r"`([\w.]+)`", cell)
    }
    assert named == {(level, name) for level, names in ROWS for name in names.split()}


def contract(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Pytest on a file that holds the README's sub-network and its contract."""
    (folder / "test_angles.py").write_text(f"{SUBNET}\n\n{CONTRACT}", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, "test_angles.py"], cwd=folder, env=environment, capture_output=True, text=True
    )


def test_the_sub_network_keeps_the_contract_with_vertex_relations(folder: Path):
    chosen = "vertex-independent and (turns or forces or batch or smooth)"
    done = contract(folder, "-k", chosen)
    assert done.returncode == 0, done.stdout
    assert re.search(r"\b12 passed", done.stdout), done.stdout  # full and filters


@pytest.mark.slow
def test_the_sub_network_keeps_the_whole_contract(folder: Path):
    done = contract(folder, "-k", "not compiled")  # which takes a minute, and is done for four
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", hermnet.__all__)
def test_public_names_can_be_imported(name: str):
    assert getattr(hermnet, name) is not None
