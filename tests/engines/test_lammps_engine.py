"""LAMMPS with a potential, against ASE on the same structures."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.md.verlet import VelocityVerlet

import structures
from checkpoints import save_model, save_potential
from hermnet import HermNetCalculator, InputError, cli
from hermnet.engines import lammps_library
from hermnet.engines.lammps import ExternalPotential
from hermnet.engines.lammps_run import run_script
from lammps_files import array_of, set_up, write_data
from properties import random_model

pytest.importorskip("lammps")

ELEMENTS = (8, 22, 56)
NAMES = ["O", "Ti", "Ba"]
VOIGT = [0, 1, 2, 5, 4, 3]  # LAMMPS counts xx yy zz xy xz yz
TEXT = (Path(__file__).parents[2] / "docs" / "lammps.md").read_text(encoding="utf-8")
DATA_THEN_RUN = """
units metal
read_data structure.data
fix hermnet all external pf/callback 1 1
fix 1 all nve
run {steps}
write_data after.data
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_potential(tmp_path_factory.mktemp("potential") / "best.ckpt", ELEMENTS)


@pytest.fixture
def folder(tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a structure to simulate."""
    monkeypatch.chdir(tmp_path)
    write_data(tmp_path / "structure.data", structures.crystal(), ELEMENTS)
    return tmp_path


def script(text: str) -> str:
    Path("in.test").write_text(text, encoding="utf-8")
    return "in.test"


def run(text: str, checkpoint: Path, *options: str) -> int:
    elements = () if "--elements" in options else ("--elements", *NAMES)
    given = ["lammps", script(text), "--checkpoint", str(checkpoint), "--log", "none"]
    return cli.main([*given, *elements, *options])


def assert_equal_to_ase(engine: object, atoms: Atoms, calculator: HermNetCalculator) -> None:
    atoms.calc = calculator
    assert engine.get_thermo("pe") == pytest.approx(atoms.get_potential_energy(), abs=1e-8)
    np.testing.assert_allclose(array_of(engine, "f"), atoms.get_forces(), rtol=0, atol=1e-8)
    bars = -atoms.get_stress()[VOIGT] / units.bar
    virial = engine.numpy.extract_compute("virial", 0, 1)
    np.testing.assert_allclose(virial, bars, rtol=1e-6, atol=1e-6 * np.abs(bars).max())


@pytest.mark.parametrize("boundary", ["p p p", "p p f", "f f f"])
def test_energy_forces_and_virial_are_those_of_ase(boundary: str, checkpoint: Path, tmp_path: Path):
    atoms = structures.crystal(stdev=0.2)
    atoms.positions += (0.5, 0.7, 0.9)
    atoms.pbc = [b == "p" for b in boundary.split()]
    if boundary == "f f f":  # nothing may be outside of such a box
        atoms.set_cell(3 * np.eye(3) @ atoms.cell.array)
    atoms.wrap(eps=0)
    data = write_data(tmp_path / "structure.data", atoms, ELEMENTS)
    engine = set_up(data, boundary)
    ExternalPotential(engine, "hermnet", HermNetCalculator(checkpoint), NAMES)
    engine.command("run 0")
    assert_equal_to_ase(engine, atoms, HermNetCalculator(checkpoint))


def test_a_simulation_moves_as_in_ase(checkpoint: Path, tmp_path: Path):
    atoms = structures.crystal()
    rng = np.random.default_rng(0)
    atoms.set_velocities(rng.normal(size=(5, 3)) * 0.004 / units.fs)
    start = write_data(tmp_path / "structure.data", atoms, ELEMENTS)
    engine = set_up(start)
    engine.command("neigh_modify every 1 delay 0 check no")  # wraps at every step
    velocities = atoms.get_velocities() * 1000 * units.fs  # A/ps
    engine.scatter_atoms("v", 1, 3, np.ctypeslib.as_ctypes(velocities.ravel()))
    calculator = HermNetCalculator(checkpoint)
    ExternalPotential(engine, "hermnet", calculator, NAMES)
    engine.commands_list(["timestep 0.0005", "run 0"])
    before = engine.get_thermo("etotal")
    engine.command("run 60")
    drift = engine.get_thermo("etotal") - before
    assert calculator.n_searches <= 3  # though atoms 0 and 2 left the cell and came in again

    atoms.calc = HermNetCalculator(checkpoint)
    total = atoms.get_total_energy()
    VelocityVerlet(atoms, 0.5 * units.fs).run(60)
    apart = (array_of(engine, "x") - atoms.positions) @ np.linalg.inv(atoms.cell.array)
    np.testing.assert_allclose(apart - np.round(apart), 0.0, atol=1e-6)
    assert np.abs(np.round(apart)).max() == 1
    assert drift == pytest.approx(atoms.get_total_energy() - total, abs=1e-6)
    assert abs(drift) < 1e-3


def test_a_barostat_sees_the_potentials_pressure(checkpoint: Path, tmp_path: Path):
    data = write_data(tmp_path / "structure.data", structures.crystal(), ELEMENTS, labels=True)
    engine = set_up(data)
    ExternalPotential(engine, "hermnet", HermNetCalculator(checkpoint))  # elements by label
    engine.commands_list(["unfix integrate", "fix 1 all npt temp 300 300 0.1 tri 0 0 0.5"])
    engine.commands_list(["velocity all create 300 1 loop all", "run 20"])
    low, high, xy, yz, xz, _, _ = engine.extract_box()
    lx, ly, lz = np.subtract(high, low)
    cell = np.array([[lx, 0, 0], [xy, ly, 0], [xz, yz, lz]])
    atoms = structures.crystal()
    assert np.abs(cell - atoms.cell.array).max() > 1e-4
    atoms.set_cell(cell)
    atoms.positions = array_of(engine, "x")
    assert_equal_to_ase(engine, atoms, HermNetCalculator(checkpoint))


def test_a_committee_and_energies_of_atoms(checkpoint: Path, tmp_path: Path):
    other = save_potential(tmp_path / "other.ckpt", ELEMENTS, seed=1)
    atoms = structures.crystal()
    engine = set_up(write_data(tmp_path / "structure.data", atoms, ELEMENTS))
    engine.command("compute each all pe/atom")
    engine.command("compute all all reduce sum c_each")
    ExternalPotential(engine, "hermnet", HermNetCalculator([checkpoint, other]), NAMES)
    engine.command("thermo_style custom step pe c_all f_hermnet[*]")
    engine.command("run 0")
    atoms.calc = HermNetCalculator([checkpoint, other])
    atoms.get_potential_energy()
    found = atoms.calc.results
    spreads = [engine.extract_fix("hermnet", 0, 1, nrow=k) for k in range(2)]
    assert spreads == pytest.approx([found["energy_std"], found["forces_std"].max()], abs=1e-8)
    order = np.argsort(engine.numpy.extract_atom("id")[: len(atoms)])
    energies = engine.numpy.extract_compute("each", 1, 1)[: len(atoms)][order]
    np.testing.assert_allclose(energies, found["energies"], atol=1e-8)


def test_a_failure_ends_a_run_from_python(checkpoint: Path, tmp_path: Path):
    engine = set_up(write_data(tmp_path / "structure.data", structures.crystal(), ELEMENTS))
    calculator = HermNetCalculator(checkpoint)
    potential = ExternalPotential(engine, "hermnet", calculator, NAMES)
    engine.command("run 3")
    assert potential.failure is None
    potential.stop.set()
    engine.command("run 100")
    assert isinstance(potential.failure, KeyboardInterrupt)
    assert engine.extract_global("ntimestep") < 10


def test_the_documented_example_runs(folder: Path, capfd: pytest.CaptureFixture[str]):
    save_potential(folder / "best.ckpt", (29,), n_layers=1)
    (text,) = re.findall(r"```lammps\n(.*?)```", TEXT, flags=re.DOTALL)
    (command,) = re.findall(r"^hermnet (lammps .*)$", TEXT, flags=re.MULTILINE)
    argv = shlex.split(command)
    Path(argv[1]).write_text(text, encoding="utf-8")
    assert cli.main([*argv, "--var", "steps", "3"]) == 0
    assert "Loop time of" in capfd.readouterr().out
    assert "108 atoms" in Path("copper.data").read_text(encoding="utf-8")
    assert "PotEng" in Path("log.lammps").read_text(encoding="utf-8")


def test_the_documented_python_runs(folder: Path, monkeypatch: pytest.MonkeyPatch):
    save_potential(folder / "best.ckpt", (29,), n_layers=1)
    (text,) = re.findall(r"```lammps\n(.*?)```", TEXT, flags=re.DOTALL)
    Path("in.setup").write_text(text[: text.index("velocity")], encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    names: dict[str, object] = {}
    exec(code.replace("run 100", "run 1"), names)
    assert names["engine"].get_thermo("pe") != 0.0


def test_loops_and_a_second_simulation(
    folder: Path, checkpoint: Path, capfd: pytest.CaptureFixture[str]
):
    text = """
        units metal
        read_data structure.data
        fix pot all external &
            pf/callback 1 1   # continued
        thermo_style custom step pe
        variable k loop 2
        label again
        run 1
        print "energy $(pe:%.8f)"
        next k
        jump SELF again
        clear
        units metal
        read_data structure.data
        fix pot all external pf/callback 1 1
        run 0
        print "energy $(pe:%.8f)"
    """
    assert run(text, checkpoint) == 0
    found = re.findall(r"^energy (\S+)", capfd.readouterr().out, flags=re.MULTILINE)
    atoms = structures.crystal()
    atoms.calc = HermNetCalculator(checkpoint)
    assert [float(value) for value in found] == pytest.approx([atoms.get_potential_energy()] * 3)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (("metal", "real"), (), "the script has 'units real'; .* write 'units metal'"),
        (("fix hermnet", "#"), (), "does not say where the potential acts; add the line 'fix"),
        (("callback 1 1", "callback 5 1"), (), r"in.test line 4: 'fix .* 5 1'.* at every step"),
        (("nve", "nev"), (), "error: LAMMPS: Unrecognized fix style 'nev'"),
        (("", ""), ("--elements", "O", "Ti"), "names 2 elements, but the script has 3 atom types"),
        (("", ""), ("--elements", "O", "Ti", "Zr"), "atom type 3 is Zr, which the potential does"),
        (("", ""), ("--elements", "O", "Ti", "ba"), "'ba' is no element symbol; did you mean 'Ba'"),
        (("", ""), ("--var", "steps"), "--var steps: give a name and a value"),
        (
            ("read_data structure.data", "read_data structure.data\nlabelmap atom 2 Zr"),
            (),
            "--elements says that atom type 2 is Ti, its label in the script Zr",
        ),
        (
            ("read_data structure.data", "region b block 0 3 0 3 0 3\ncreate_box 3 b\nmass * 1"),
            (),
            "error: a structure without atoms",
        ),
        (
            ("read_data structure.data", "label a\nread_data structure.data"),
            (),
            "'jump SELF a' goes across a line 'fix ... external pf/callback'",
        ),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    change: tuple[str, str],
    options: tuple[str, ...],
    message: str,
    folder: Path,
    checkpoint: Path,
    capfd: pytest.CaptureFixture[str],
):
    text = DATA_THEN_RUN.strip().format(steps=1).replace("metal", "metal\n").replace(*change)
    assert run(text + ("\njump SELF a" if "jump" in message else ""), checkpoint, *options) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert re.search(message, line), line
    assert not Path("after.data").exists()


def test_types_without_an_element_are_refused(checkpoint: Path, tmp_path: Path):
    engine = set_up(write_data(tmp_path / "structure.data", structures.crystal(), ELEMENTS))
    with pytest.raises(InputError, match=r"atom type 1 has no element: name .* --elements"):
        ExternalPotential(engine, "hermnet", HermNetCalculator(checkpoint))


def test_a_model_without_forces_is_refused(folder: Path, capfd: pytest.CaptureFixture[str]):
    dipoles = save_model(folder / "dipole.ckpt", random_model("vector"))
    assert run(DATA_THEN_RUN.format(steps=1), dipoles) == 2
    assert "a model of the dipole has no energies and forces" in capfd.readouterr().err


def test_a_missing_lammps_is_said(monkeypatch: pytest.MonkeyPatch):
    def missing(name: str) -> None:
        raise OSError("libmpi.so.12: cannot open shared object file")

    monkeypatch.setattr(lammps_library.importlib, "import_module", missing)
    with pytest.raises(InputError, match=r'libmpi.so.12: .*; pip install "hermnet\[lammps\]"'):
        lammps_library.open_lammps()


def command(checkpoint: Path, text: str) -> list[str]:
    options = ["--checkpoint", str(checkpoint), "--elements", *NAMES]
    return [sys.executable, "-m", "hermnet.cli", "lammps", script(text), *options]


def test_several_processes_of_another_mpi_are_refused(
    folder: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    with pytest.raises(InputError, match="computes in one process, not on 2 MPI ranks"):
        run_script(script(DATA_THEN_RUN.format(steps=1)), HermNetCalculator(checkpoint), NAMES)
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "1")
    with pytest.raises(SystemExit):
        run_script("in.test", HermNetCalculator(checkpoint), NAMES)


@pytest.mark.slow
def test_several_ranks_are_refused(folder: Path, checkpoint: Path):
    mpiexec = Path(sys.prefix, "bin", "mpiexec")
    argv = [str(mpiexec), "-n", "2", *command(checkpoint, DATA_THEN_RUN.format(steps=1))]
    done = subprocess.run(argv, capture_output=True, text=True, env={**os.environ, "RANK": "0"})
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("error: ") == 1
    assert "computes in one process, not on 2 MPI ranks" in done.stderr
    assert not Path("after.data").exists()


@pytest.mark.slow
def test_an_interrupt_ends_it_where_it_is(folder: Path, checkpoint: Path):
    text = DATA_THEN_RUN.replace("run", "thermo_modify flush yes\nrun").format(steps=1000000)
    argv = command(checkpoint, text)
    with (
        Path("out").open("w") as out,
        # a job in the background of a script inherits that interrupts are ignored
        subprocess.Popen(
            argv,
            stdout=out,
            stderr=out,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ) as process,
    ):
        deadline = time.monotonic() + 60
        log = Path("log.lammps")
        while not (log.exists() and "Step" in log.read_text()) and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130, Path("out").read_text()
    assert not Path("after.data").exists()
