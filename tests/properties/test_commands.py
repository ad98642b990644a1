"""The commands from end to end, with ASE's EMT in the place of a potential where physics counts."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import ase.io
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT

import properties
import structures
from checkpoints import save_model, save_potential
from hermnet import cli
from hermnet.calculator import HermNetCalculator
from hermnet.properties import running
from hermnet.properties.commands import COMMANDS


@pytest.fixture
def copper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with copper.cif, in which potentials are EMT."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(running, "make_calculator", lambda _: EMT())
    monkeypatch.setattr(running, "identity_of", lambda *_: "EMT")
    ase.io.write(tmp_path / "copper.cif", bulk("Cu", a=3.6))
    return tmp_path


def command(line: str) -> int:
    return cli.main([*line.split(), "--checkpoint", "best.ckpt"])


def test_relax_then_eos_then_elastic(copper: Path, capsys: pytest.CaptureFixture[str]):
    assert command("relax copper.cif --cell --fmax 1e-5 --optimizer bfgs") == 0
    assert command("eos relax/relaxed.xyz --span 0.03 --no-relax --output out/curve") == 0
    assert command("elastic relax/relaxed.xyz") == 0
    out = capsys.readouterr().out
    assert "converged after" in out
    assert "written: out/curve" in out
    modulus = json.loads(Path("out/curve/eos.json").read_text())["bulk_modulus_GPa"]
    hill = json.loads(Path("elastic/elastic.json").read_text())["bulk_modulus_hill_GPa"]
    assert modulus == pytest.approx(hill, rel=0.01)


def test_md_and_more_of_it(copper: Path, capsys: pytest.CaptureFixture[str]):
    assert command("md copper.cif --ensemble npt --steps 6 --every 2 --pressure -0.5") == 0
    assert command("md copper.cif --ensemble npt --steps 9 --every 2 --pressure -0.5 --resume") == 0
    rows = list(csv.DictReader(Path("md/thermo.csv").read_text().splitlines()))
    assert [int(row["step"]) for row in rows] == [0, 2, 4, 6, 8]
    assert "8 fs of npt" in capsys.readouterr().out


def test_a_trajectory_is_analysed(copper: Path, capsys: pytest.CaptureFixture[str]):
    ase.io.write("cube.cif", bulk("Cu", cubic=True))
    assert command("md cube.cif --steps 12 --every 2") == 0
    for line in (
        "rdf md/trajectory.xyz --r-max 5",
        "msd md/trajectory.xyz@::2",
        "vdos md/trajectory.xyz",
    ):
        assert cli.main(line.split()) == 0
    assert json.loads(Path("rdf/rdf.json").read_text())["settings"]["r_max"] == 5.0
    rows = list(csv.DictReader(Path("msd/msd.csv").read_text().splitlines()))
    assert [float(row["time_fs"]) for row in rows] == [0.0, 4.0, 8.0]
    assert Path("vdos/vdos.png").is_file()
    assert capsys.readouterr().out.count("written: ") == 4


def test_phonons_of_a_supercell(copper: Path):
    pytest.importorskip("phonopy")
    assert command("phonons copper.cif --supercell 2 2 2 --mesh 5 5 5") == 0
    assert json.loads(Path("phonons/phonons.json").read_text())["supercell"] == [2, 2, 2]


def test_a_committee_of_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    ase.io.write("crystal.xyz", structures.crystal())
    paths = [str(save_potential(tmp_path / f"{k}.ckpt", (8, 22, 56), seed=k)) for k in range(2)]
    argv = ["md", "crystal.xyz", "--checkpoint", paths[0], "--checkpoint", paths[1]]
    argv += ["--steps", "2", "--every", "1", "--timestep", "0.1", "--dtype", "float32"]
    assert cli.main(argv) == 0
    frames = ase.io.read("md/trajectory.xyz", index=":")
    assert len(frames) == 3
    rows = list(csv.DictReader(Path("md/thermo.csv").read_text().splitlines()))
    assert all(float(row["energy_std_eV"]) > 0 for row in rows)


@pytest.mark.parametrize(
    ("flags", "pays", "expected"),
    [("", True, True), ("", False, False), ("--no-compile", True, False)],
)
def test_long_simulations_are_compiled(
    flags: str,
    pays: bool,
    expected: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    compiled, asked = [], []
    monkeypatch.setattr(HermNetCalculator, "compile", lambda self: compiled.append(self))
    monkeypatch.setattr(running, "compiling_pays", lambda *sizes: asked.append(sizes) or pays)
    ase.io.write("crystal.xyz", structures.crystal())
    path = save_potential(tmp_path / "a.ckpt", (8, 22, 56))
    line = f"md crystal.xyz --checkpoint {path} --steps 2 --timestep 0.1 {flags}"
    assert cli.main(line.split()) == 0
    assert bool(compiled) is expected
    assert ("note: compiled for 2 steps" in capsys.readouterr().out) is expected
    if not flags:
        _, n_steps, n_edges, task, device = asked[0]
        assert (n_steps, task) == (2, "inference")
        assert device == ("cuda" if torch.cuda.is_available() else "cpu")
        assert n_edges > 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("relax nothing.cif", "there is no file nothing.cif"),
        ("relax broken.cif", "broken.cif cannot be read: "),
        ("relax copper.cif --fmax small", "--fmax: expected float, got 'small'"),
        ("relax copper.cif --fmax 0", "fmax must be positive, not 0"),
        ("relax copper.cif --fmx 1", "unknown option '--fmx'; did you mean '--fmax'?"),
        ("relax copper.cif --pressure 1", "pressure acts on a cell that relaxes: set cell too"),
        ("relax copper.cif --optimizer FIRE2", "--optimizer: unknown 'FIRE2'; did you mean 'fire'"),
        ("relax copper.cif --output broken.cif", "broken.cif is a file; give a folder as --output"),
        ("relax copper.cif --output .", "holds other files too, such as broken.cif"),
        ("relax copper.cif model.cutoff=3", "unexpected 'model.cutoff=3'; see hermnet relax --he"),
        ("eos copper.cif --points 4", "points must be at least 5, not 4: the fit has 4 unknowns"),
        ("eos molecule.xyz", "an equation of state needs a structure that is periodic in three"),
        ("elastic copper.cif --strain 0.2", "strain must be below 0.1, not 0.2"),
        ("md copper.cif --ensemble nev", "--ensemble: unknown 'nev'; did you mean 'nve'?"),
        ("phonons copper.cif --supercell 2 2 x", "--supercell[2]: expected int, got 'x'"),
        (
            "phonons copper.cif --supercell 2 2 0",
            "supercell must be three positive numbers, not (2",
        ),
        ("md copper.cif --resume", "there is no simulation to resume"),
        ("md copper.cif --resume --overwrite", "give --resume or --overwrite, not both"),
        ("phonons copper.cif --resume", "there is nothing to resume: no file phonons.partial"),
        ("md empty.xyz", "empty.xyz holds no atoms"),
        ("relax lost.xyz", "the position of atom 2 is not a finite number"),
        ("relax flat.xyz", "but its lattice vectors [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], "),
        ("md nanometres.xyz", "atoms 0 (O) and 1 (H) are 0.0969 A apart: they overlap, or the l"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    copper: Path, capsys: pytest.CaptureFixture[str], line: str, message: str
):
    Path("broken.cif").write_text("no crystal at all")
    water = molecule("H2O")
    ase.io.write("molecule.xyz", water)
    Path("empty.xyz").write_text("0\n\n")
    Path("lost.xyz").write_text(Path("molecule.xyz").read_text().replace("-0.76323900", "nan"))
    ase.io.write("flat.xyz", Atoms(water, pbc=True))
    ase.io.write("nanometres.xyz", Atoms(water.symbols, water.positions / 10))
    before = {path.name for path in copper.iterdir()}
    assert command(line) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    assert message in printed.err
    assert {path.name for path in copper.iterdir()} == before


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("rdf nothing.xyz", "there is no file nothing.xyz"),
        ("rdf copper.cif --skip -1", "skip must be 0 or more, not -1"),
        ("msd copper.cif", "has 1 frames after the first 0; at least 2"),
        (
            "msd copper.cif --start 0.9 --end 0.5",
            "start and end must be 0 <= start < end <= 1, not",
        ),
        ("vdos copper.cif --checkpoint a", "unknown option '--checkpoint'; "),
    ],
)
def test_mistakes_about_trajectories(
    copper: Path, capsys: pytest.CaptureFixture[str], line: str, message: str
):
    assert cli.main(line.split()) == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in copper.iterdir()] == ["copper.cif"]


@pytest.mark.parametrize("line", ["relax cube.xyz --cell --fmax 0.02", "eos cube.xyz --no-relax"])
def test_a_killed_command_goes_on(copper: Path, monkeypatch: pytest.MonkeyPatch, line: str):
    class Killed(EMT):
        calls, limit = 0, 1000

        def calculate(self, *arguments: object) -> None:
            if Killed.calls == Killed.limit:
                raise KeyboardInterrupt
            Killed.calls += 1
            super().calculate(*arguments)

    cube = bulk("Cu", cubic=True, a=3.65)
    cube.rattle(0.05, seed=1)
    ase.io.write("cube.xyz", cube)
    monkeypatch.setattr(running, "make_calculator", lambda _: Killed())
    assert command(f"{line} --output whole") == 0
    needed, Killed.calls, Killed.limit = Killed.calls, 0, 7
    assert command(f"{line} --output parts") == 130
    partial = Path("parts.partial")
    partial.write_text(partial.read_text()[:-20])  # as a kill in the middle of a line leaves it
    Killed.limit = 1000
    assert command(f"{line} --output parts --resume") == 0
    assert Killed.calls == needed + 1
    for one in Path("whole").glob("*.csv"):
        assert (Path("parts") / one.name).read_text() == one.read_text()
    assert not partial.exists()
    monkeypatch.setattr(running, "identity_of", lambda *_: "another")
    partial.write_text('{"identity": "EMT"}\n')
    assert command(f"{line} --output parts --overwrite --resume") == 2


def test_a_trajectory_cut_in_the_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    frames = [bulk("Cu", cubic=True) for _ in range(4)]
    for time, frame in enumerate(frames):
        frame.rattle(0.1, seed=time)
        frame.info["time"] = float(time)
    ase.io.write("whole.xyz", frames)
    text = Path("whole.xyz").read_text()
    Path("cut.xyz").write_text(text[: text.rindex("Cu") + 9])
    with pytest.warns(UserWarning, match=r"cut\.xyz is cut off or damaged: read the 3 frames be"):
        assert cli.main(["msd", "cut.xyz"]) == 0
    assert cli.main(["msd", "whole.xyz@:3", "--output", "whole"]) == 0
    assert Path("msd/msd.csv").read_text() == Path("whole/msd.csv").read_text()


def test_a_checkpoint_of_properties_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = save_model(tmp_path / "dipole.ckpt", properties.random_model("vector"))
    ase.io.write(tmp_path / "ethanol.xyz", properties.ethanol())
    argv = ["md", str(tmp_path / "ethanol.xyz"), "--output", str(tmp_path / "md")]
    assert cli.main([*argv, "--checkpoint", str(path)]) == 2
    assert "a model of the dipole has no energies and forces, which" in capsys.readouterr().err
    gap = save_model(tmp_path / "gap.ckpt", properties.random_model("mean"))
    assert cli.main([*argv, "--checkpoint", str(gap)]) == 2
    assert "gap.ckpt holds a model of gap, u0; a calculator takes" in capsys.readouterr().err
    assert not (tmp_path / "md").exists()


def test_lengths_that_are_too_long_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    path = save_potential(tmp_path / "best.ckpt", (1, 8))
    water = molecule("H2O")
    ase.io.write("picometres.xyz", Atoms(water.symbols, 100 * water.positions))
    with pytest.warns(UserWarning, match="3 of 3 atoms have no neighbor within the cutoff of 3 A"):
        assert cli.main(["relax", "picometres.xyz", "--checkpoint", str(path)]) == 0


def test_an_old_result_stays(copper: Path, capsys: pytest.CaptureFixture[str]):
    assert command("eos copper.cif") == 0
    written = Path("eos/eos.json").read_text()
    assert command("eos copper.cif --span 0.05") == 2
    assert "eos is there already: give --overwrite or another --output" in capsys.readouterr().err
    assert Path("eos/eos.json").read_text() == written
    assert command("eos copper.cif --span 0.05 --overwrite") == 0
    assert Path("eos/eos.json").read_text() != written
    assert [path.name for path in copper.iterdir() if path.name.startswith(".")] == []


def test_a_checkpoint_is_needed(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["relax", "copper.cif"]) == 2
    assert "the following arguments are required: --checkpoint" in capsys.readouterr().err
    ase.io.write(tmp_path / "copper.cif", bulk("Cu"))
    missing = str(tmp_path / "best.ckpt")
    assert cli.main(["relax", str(tmp_path / "copper.cif"), "--checkpoint", missing]) == 2
    assert f"error: there is no checkpoint {missing}" in capsys.readouterr().err


def test_threads_are_few_unless_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    checkpoint = save_potential(tmp_path / "best.ckpt", (29,))
    ase.io.write(tmp_path / "copper.cif", bulk("Cu"))
    start = ["eos", str(tmp_path / "copper.cif"), "--checkpoint", str(checkpoint)]
    start += ["--output", str(tmp_path / "eos"), "--overwrite"]
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert cli.main([*start, "--span", "0.01"]) in (0, 2)  # nobody trained this potential
        assert torch.get_num_threads() == 1
        assert cli.main([*start, "--threads", "2"]) in (0, 2)
        assert torch.get_num_threads() == 2
        assert cli.main([*start, "--threads", "0"]) == 2
        assert "error: --threads must be at least 1, not 0" in capsys.readouterr().err
    finally:
        torch.set_num_threads(before)


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]):
    for command_ in COMMANDS:
        with pytest.raises(SystemExit) as end:
            cli.main([command_.name, "--help"])
        assert end.value.code == 0
        assert "--output" in capsys.readouterr().out
