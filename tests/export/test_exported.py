"""One potential, compiled once: it gives the checkpoint's numbers wherever it is loaded."""

from __future__ import annotations

import copy
import io
import json
import os
import pickle
import pickletools
import shutil
import site
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.io import write
from ase.md.verlet import VelocityVerlet

import hermnet
import structures
from checkpoints import package, save_potential
from hermnet import cli
from hermnet.checks import predict
from hermnet.derivatives import edge_vectors
from hermnet.errors import InputError
from hermnet.export.compiling import compile_potential, describe_export, deviation
from hermnet.export.core import core_program
from hermnet.export.exported import ExportedPotential, load_exported
from hermnet.export.mliap import MliapPotential, mliap_file
from hermnet.graph import collate
from hermnet.neighbors import graph_from_atoms

ROOT = Path(__file__).parents[2]
ELEMENTS = (1, 6, 7, 8, 16)
CLOSE = {"rtol": 0, "atol": 1e-10}
FAST = {"aot_inductor.compile_wrapper_opt_level": "O0"}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("g++") is None, reason="compiling needs g++"),
]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    return save_potential(folder / "best.ckpt", ELEMENTS, relations="triadic")


@pytest.fixture(scope="module")
def potential(checkpoint: Path) -> hermnet.Potential:
    return hermnet.load_potential(checkpoint)


@pytest.fixture(scope="module")
def content(checkpoint: Path, potential: hermnet.Potential) -> bytes:
    return compile_potential(potential, describe_export(checkpoint, potential), options=FAST)


@pytest.fixture(scope="module")
def file(content: bytes, checkpoint: Path) -> Path:
    path = checkpoint.with_suffix(".pt2")
    path.write_bytes(content)
    return path


def crystal() -> Atoms:
    """320 atoms with periodic boundaries, cubic."""
    sites = [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)]
    atoms = Atoms("HCNOS", scaled_positions=sites, cell=[3.4] * 3, pbc=True).repeat(4)
    atoms.rattle(0.1, seed=0)
    return atoms


SIZES = {
    "an atom": Atoms("H"),
    "a pair": Atoms("OH", [[0, 0, 0], [0, 0, 1]]),
    "atoms out of reach": Atoms("OOH", [[0, 0, 0], [0, 0, 9], [9, 0, 0]]),
    "ethanol": structures.molecule(),
    "a slab": structures.mixture(0, 12),
    "a crystal": crystal(),
}


@pytest.mark.parametrize("name", SIZES)
def test_one_file_for_all_sizes(file: Path, potential: hermnet.Potential, name: str):
    graph = graph_from_atoms(SIZES[name], potential.cutoff)
    found, expected = (model(graph, True, True, True) for model in (load_exported(file), potential))
    for key in ("energy", "atomic_energies", "forces", "stress", "atomic_stresses"):
        one, other = getattr(found, key), getattr(expected, key).detach()
        torch.testing.assert_close(one, other, equal_nan=True, **CLOSE)


def test_a_batch_of_graphs(file: Path, potential: hermnet.Potential):
    graph = collate([graph_from_atoms(atoms, potential.cutoff) for atoms in SIZES.values()])
    found, expected = load_exported(file)(graph), potential(graph)
    torch.testing.assert_close(found.energy, expected.energy.detach(), **CLOSE)
    torch.testing.assert_close(found.forces, expected.forces.detach(), **CLOSE)


def test_weights_choose_whose_energy_is_differentiated(file: Path, potential: hermnet.Potential):
    exported = load_exported(file)
    graph = graph_from_atoms(structures.mixture(3, 14), potential.cutoff)
    weights = torch.arange(14, dtype=torch.float64) % 3
    vectors = edge_vectors(graph).requires_grad_()
    energies = potential.atomic_energies(vectors, potential.indices(graph))
    (expected,) = torch.autograd.grad(torch.dot(energies, weights), vectors)
    _, found = exported.evaluate(vectors.detach(), exported.indices(graph), weights)
    torch.testing.assert_close(found, expected, **CLOSE)


def test_it_is_a_calculator_of_ase(file: Path, potential: hermnet.Potential):
    atoms = structures.mixture(1, 20)
    atoms.calc = hermnet.HermNetCalculator(file)
    expected = predict(potential, atoms)
    np.testing.assert_allclose(atoms.get_potential_energy(), expected.energy.item(), **CLOSE)
    np.testing.assert_allclose(atoms.get_forces(), expected.forces.detach(), **CLOSE)
    with pytest.raises(InputError, match="does not know He; it was trained on H, C, N, O, S"):
        Atoms("He", calculator=atoms.calc).get_potential_energy()
    with pytest.raises(InputError, match=r"best.pt2 was compiled for float64; export it again f"):
        hermnet.HermNetCalculator(file, dtype="float32")


def test_copies_need_no_file(content: bytes, potential: hermnet.Potential):
    exported = ExportedPotential(content)
    graph = graph_from_atoms(structures.molecule(), potential.cutoff)
    for other in (copy.deepcopy(exported), pickle.loads(pickle.dumps(exported))):
        assert torch.equal(other(graph).forces, exported(graph).forces)


def test_what_the_file_says_of_itself(file: Path):
    about = load_exported(file).description
    assert about.elements == ELEMENTS
    assert (about.cutoff, about.n_layers, about.dtype, about.device) == (3.0, 2, "float64", "cpu")
    assert about.kernels == ("affine", "message", "perceptron")
    assert about.recipe["model"]["relations"] == "triadic"
    assert about.units["forces"] == "eV/A"
    assert about.versions["torch"] == version("torch")


PEAK = """
import sys
sys.path[:0] = [{tests!r}, {tests!r} + "/export"]
from test_exported import crystal
from hermnet import graph_from_atoms, load_exported
exported = load_exported({file!r})
exported(graph_from_atoms(crystal(), 3.0))
graph = graph_from_atoms(crystal() * (3, 3, 3), 3.0)
needed = exported.bytes_needed(graph)
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if "VmHWM" in line)
before = peak()
exported(graph)
print(needed, 1024 * (peak() - before))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
def test_what_it_needs_is_what_a_process_takes(file: Path):
    program = PEAK.format(tests=str(ROOT / "tests"), file=str(file))
    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    needed, taken = map(float, found.stdout.split())
    assert 0.6 * taken < needed < 1.6 * taken


def test_what_only_training_needs_is_not_imported(file: Path):
    script = """
        import sys

        class Refuse:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in %r:
                    raise ImportError(f"{name} is not installed")

        sys.meta_path.insert(0, Refuse())
        import ase, hermnet
        atoms = ase.Atoms("OH", [[0, 0, 0], [0, 0, 1]])
        atoms.calc = hermnet.HermNetCalculator(%r)
        print(atoms.get_potential_energy())
    """
    training = [
        "pytorch_lightning",
        "lightning_fabric",
        "omegaconf",
        "e3nn",
        "matplotlib",
        "tensorboard",
        "rich",
    ]
    program = textwrap.dedent(script) % (training, str(file))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pair = SIZES["a pair"].copy()
    pair.calc = hermnet.HermNetCalculator(file)
    assert float(done.stdout) == pytest.approx(pair.get_potential_energy(), abs=1e-10)


def changed(content: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    """The file with another description."""
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(result, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith("_metadata.json") and "hermnet" in json.loads(data):
                outer = json.loads(data)
                about = json.loads(outer["hermnet"])
                change(about)
                data = json.dumps({**outer, "hermnet": json.dumps(about)}).encode()
            new.writestr(name, data)
    return result.getvalue()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda about: about.update(format=9, versions={"hermnet": "9.1"}),
            "export format 9, this HermNet reads 5; it was written with hermnet 9.1: install",
        ),
        (lambda about: about.pop("cutoff"), "is an incomplete export: it lacks cutoff"),
        (lambda about: about.update(elements=["H"]), "is a damaged export: "),
        (
            lambda about: about.update(capability="AVX1024"),
            "was compiled for AVX1024 instructions, this processor has ",
        ),
    ],
)
def test_files_of_another_kind(
    content: bytes, change: Callable[[dict[str, Any]], None], message: str
):
    with pytest.raises(InputError, match=message):
        ExportedPotential(changed(content, change), "new.pt2")


def test_code_that_does_not_load(content: bytes):
    broken = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(broken, "w") as new:
        for name in old.namelist():
            new.writestr(name, b"nothing" if name.endswith(".so") else old.read(name))
    with pytest.raises(InputError, match=r"old.pt2 cannot be loaded by torch .* export it again"):
        ExportedPotential(broken.getvalue(), "old.pt2")


def test_the_deviation_sees_another_potential(
    content: bytes, potential: hermnet.Potential, checkpoint: Path
):
    exported = ExportedPotential(content)
    assert deviation(exported, potential) < 1e-10
    other = save_potential(checkpoint.with_name("b.ckpt"), ELEMENTS, seed=1, relations="triadic")
    assert deviation(exported, hermnet.load_potential(other)) > 1e-2


def process(atoms: Atoms, owned: np.ndarray, cutoff: float, halo: float) -> SimpleNamespace:
    """What one process of LAMMPS hands over: owned atoms, ghosts within `halo`, and their pairs.

    `source` is for the test: whose image each local atom is.
    """
    wide = graph_from_atoms(atoms, halo)
    outward = owned[wide.centers.numpy()]
    key = np.column_stack((wide.neighbors.numpy(), wide.shifts.numpy().astype(int)))[outward]
    home = np.zeros((owned.sum(), 4), dtype=int)
    home[:, 0] = np.flatnonzero(owned)
    here = {tuple(row) for row in home.tolist()}
    ghosts = [row for row in map(tuple, np.unique(key, axis=0).tolist()) if row not in here]
    local = np.array([*map(tuple, home.tolist()), *ghosts], dtype=int).reshape(-1, 4)
    positions = atoms.positions[local[:, 0]] + local[:, 1:] @ atoms.cell.array
    cloud = Atoms(atoms.numbers[local[:, 0]], positions)
    graph = graph_from_atoms(cloud, cutoff) if len(cloud) else None
    n_owned = len(home)
    data = SimpleNamespace(
        ntotal=len(local),
        nlocal=n_owned,
        nlistatoms=n_owned,
        natomneigh=len(local),
        npairs=0 if graph is None else graph.n_edges,
        elems=np.array([ELEMENTS.index(z) for z in cloud.numbers], dtype=np.int32),
        iatoms=np.arange(len(local), dtype=np.int32),
        source=local[:, 0],
        forces=np.zeros((len(local), 3)),
    )
    if graph is not None:
        data.pair_i, data.jatoms = graph.centers.int().numpy(), graph.neighbors.int().numpy()
        data.rij = edge_vectors(graph).numpy()

    def update(fij: np.ndarray) -> None:
        np.add.at(data.forces, data.pair_i, fij)
        np.subtract.at(data.forces, data.jatoms, fij)

    data.update_pair_forces = update
    return data


def test_processes_of_lammps_add_up(content: bytes, potential: hermnet.Potential):
    model = MliapPotential(content)
    assert model.element_types == ["H", "C", "N", "O", "S"]
    assert_processes_add_up(model, potential)


@pytest.mark.parametrize("subnet", ["painn", "schnet"])
def test_processes_of_lammps_whose_edges_stand_for_their_reverses(
    subnet: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """At the border of what a process needs reverses are missing. The traced program is enough."""
    options = {"relations": "none", "subnet": subnet}
    path = save_potential(tmp_path / "best.ckpt", ELEMENTS, **options)
    potential = hermnet.load_potential(path).requires_grad_(False)
    program = core_program(potential).module()
    monkeypatch.setattr("hermnet.export.exported._loaded", lambda *_: program)
    about = describe_export(path, potential)
    assert about.two_way == (True,)
    assert_processes_add_up(MliapPotential(package(about)), potential)


def assert_processes_add_up(model: MliapPotential, potential: hermnet.Potential) -> None:
    """Three sub-domains, one of them empty, with ghosts as far as two layers reach."""
    atoms = structures.mixture(5, 14)
    expected = predict(potential, atoms)
    right = atoms.get_scaled_positions()[:, 0] > 0.5
    energy, forces = 0.0, np.zeros((len(atoms), 3))
    for owned in (right, ~right, np.zeros_like(right)):
        data = process(atoms, owned, 3.0, 8.0)  # two cutoffs and a skin
        model.compute_forces(data)
        energy += data.energy
        np.add.at(forces, data.source, data.forces)
        if owned.any():
            np.testing.assert_allclose(
                data.eatoms, expected.atomic_energies.detach().numpy()[owned], **CLOSE
            )
    np.testing.assert_allclose(energy, expected.energy.item(), **CLOSE)
    np.testing.assert_allclose(forces, expected.forces.detach(), **CLOSE)


def test_what_lammps_must_be_told(content: bytes):
    model = MliapPotential(content)
    data = process(structures.mixture(5, 14), np.arange(14) < 7, 3.0, 8.0)
    data.natomneigh = data.nlistatoms
    with pytest.raises(InputError, match="ghosts lack neighbors: write 'pair_style mliap unified"):
        model.compute_forces(data)
    data.natomneigh = data.ntotal
    data.elems[-1] = -1
    with pytest.raises(InputError, match="an atom has no element: pair_coeff"):
        model.compute_forces(data)


def lammps() -> str | None:
    """A LAMMPS with ML-IAP and PYTHON, HERMNET_LAMMPS or lmp on the path; None without one."""
    program = os.environ.get("HERMNET_LAMMPS") or shutil.which("lmp")
    if program is None:
        return None
    told = subprocess.run([program, "-h"], capture_output=True, text=True).stdout
    packages = told.partition("Installed packages:")[2].split()
    return program if {"ML-IAP", "PYTHON"} <= set(packages) else None


INPUT = """
units metal
atom_style atomic
processors 1 1 *
read_data structure.data
pair_style mliap unified best.mliap 1
pair_coeff * * O S H C N
comm_modify cutoff 8.0
timestep 0.0001
fix nve all nve
compute energies all pe/atom
thermo 10
thermo_style custom step pe etotal pxx pyy pzz pyz pxz pxy
thermo_modify format float %.15g
dump forces all custom 100 forces.txt fx fy fz c_energies
dump_modify forces sort id format float %.15g
run 30
"""


def run_lammps(program: str, n_ranks: int, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the thermo output, and rows of forces and energy of the first step."""
    (folder / "in.txt").write_text(INPUT, encoding="utf-8")
    several = ["mpirun", "--oversubscribe", "-n", str(n_ranks)] if n_ranks > 1 else []
    root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    # the Python inside LAMMPS, of the same version, finds the packages of this one
    paths = [str(ROOT), *site.getsitepackages(), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [*several, program, "-in", "in.txt"],
        cwd=folder,
        env={**os.environ, **root, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    table = done.stdout.partition(" Step ")[2].partition("Loop time")[0].splitlines()[1:]
    forces = (folder / "forces.txt").read_text(encoding="utf-8").splitlines()[9:]
    n_atoms = done.stdout.partition(" atoms\n")[0].split()[-1]
    rows = [line.split() for line in forces[: int(n_atoms)]]
    return np.array([line.split() for line in table], float), np.array(rows, float)


@pytest.mark.skipif(lammps() is None, reason="there is no LAMMPS with ML-IAP and PYTHON")
@pytest.mark.parametrize("n_ranks", [1, 2, 3], ids=["one", "two", "three, two without atoms"])
def test_lammps_is_ase(content: bytes, file: Path, tmp_path: Path, n_ranks: int):
    """Energy, forces, stress and 30 steps of NVE; of three ranks only the first has atoms."""
    atoms = structures.mixture(2, 16)
    atoms.pbc, atoms.cell = True, [5.0, 5.2, 6.0 if n_ranks < 3 else 24.0]
    atoms.positions[:, 2] += 0.5
    atoms.wrap()
    if n_ranks == 3:
        assert atoms.positions[:, 2].max() < 8.0
    order = ["O", "S", "H", "C", "N"]
    write(tmp_path / "structure.data", atoms, "lammps-data", specorder=order, masses=True)
    (tmp_path / "best.mliap").write_bytes(mliap_file(content, "best.mliap"))
    thermo, rows = run_lammps(str(lammps()), n_ranks, tmp_path)
    atoms.calc = hermnet.HermNetCalculator(file)
    np.testing.assert_allclose(rows[:, :3], atoms.get_forces(), rtol=0, atol=1e-8)
    np.testing.assert_allclose(rows[:, 3], atoms.get_potential_energies(), rtol=0, atol=1e-8)
    np.testing.assert_allclose(thermo[0, 1], atoms.get_potential_energy(), rtol=0, atol=1e-8)
    stress = atoms.get_stress()
    # the two programs' constants differ by 1e-7
    np.testing.assert_allclose(-thermo[0, 3:] * units.bar, stress, rtol=1e-6, atol=1e-8)
    dynamics, totals = VelocityVerlet(atoms, 0.1 * units.fs), [atoms.get_total_energy()]
    for _ in range(3):
        dynamics.run(10)
        totals.append(atoms.get_total_energy())
    np.testing.assert_allclose(thermo[:, 2], totals, rtol=0, atol=1e-5)


def test_ghosts_that_end_too_early_are_noticed(content: bytes):
    data = process(structures.mixture(5, 14), np.arange(14) < 7, 3.0, 4.0)
    model = MliapPotential(content)
    with pytest.warns(
        UserWarning, match=r"ghost atoms end \d.\d A outside, .* 'comm_modify cutoff'"
    ):
        model.compute_forces(data)
    model.compute_forces(data)  # it says so once


def test_one_of_several_processes_ends_where_lammps_would_wait(
    content: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    ends: list[int] = []
    monkeypatch.setattr("hermnet.export.mliap.os._exit", ends.append)
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    data = process(structures.mixture(5, 14), np.arange(14) < 7, 3.0, 8.0)
    data.natomneigh = data.nlistatoms
    MliapPotential(content).compute_forces(data)
    assert ends == [1]
    assert "InputError: ghosts lack neighbors" in capsys.readouterr().err


def test_the_file_for_lammps_names_one_class(content: bytes):
    stored = mliap_file(content, "best.mliap")
    names = [arg for op, arg, _ in pickletools.genops(stored) if "UNICODE" in op.name]
    assert (
        {"hermnet.export.mliap", "MliapPotential"}
        <= set(names)
        <= {
            "hermnet.export.mliap",
            "MliapPotential",
            "best.mliap",
        }
    )
    assert pickle.loads(stored).element_types == ["H", "C", "N", "O", "S"]


def test_the_command_compiles_compares_and_writes(
    checkpoint: Path, content: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.setattr("hermnet.export.writing.compile_potential", lambda *_, **__: content)
    output = checkpoint.with_name("other.mliap")
    assert cli.main(["export", str(checkpoint), "--format", "mliap", "--output", str(output)]) == 0
    printed = capsys.readouterr().out
    assert "H C N O S, cutoff 3 A, float64, cpu" in printed
    assert "largest relative difference from the checkpoint: " in printed
    assert pickle.loads(output.read_bytes()).rcutfac == 1.5
    other = save_potential(checkpoint.with_name("c.ckpt"), ELEMENTS, seed=2, relations="triadic")
    with pytest.raises(RuntimeError, match="the compiled potential differs from the checkpoint's"):
        cli.main(["export", str(other)])
    assert not other.with_suffix(".pt2").exists()
