"""torch-sim with a potential, against ASE on the same structures."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk
from ase.md.verlet import VelocityVerlet

import properties
import structures
from checkpoints import save_model, save_potential
from hermnet import HermNetCalculator, InputError

ELEMENTS = (1, 6, 7, 8, 12, 14, 16, 22, 26, 56)
ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "torchsim.md").read_text(encoding="utf-8")
HERE = find_spec("torch_sim") is not None
# torch-sim compiles scripts when it is imported
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")
needs_torchsim = pytest.mark.skipif(not HERE, reason="torch-sim is not installed")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_potential(tmp_path_factory.mktemp("potential") / "best.ckpt", ELEMENTS)


def model_of(path: Path) -> Any:
    return importlib.import_module("hermnet.engines.torchsim").TorchSimModel(path, device="cpu")


def state_of(frames: list[Atoms], model: Any) -> Any:
    return importlib.import_module("torch_sim").io.atoms_to_state(frames, model.device, model.dtype)


def silicon(a: float, seed: int) -> Atoms:
    atoms = bulk("Si", a=a)
    atoms.rattle(0.1, seed=seed)
    return atoms


FRAMES = {
    "crystals": [
        structures.crystal(),
        silicon(5.4, 0),
        structures.crystal(1, 0.2),
        silicon(5.0, 1),
    ],
    "molecules": [structures.molecule(), structures.molecule(1, 0.2), Atoms("H")],
    "slabs": [structures.mixture(), structures.mixture(1, 7)],
}


@needs_torchsim
@pytest.mark.parametrize("kind", FRAMES)
def test_every_frame_is_as_in_ase(kind: str, checkpoint: Path):
    model = model_of(checkpoint)
    found = model(state_of(FRAMES[kind], model))
    start = 0
    for system, frame in enumerate(FRAMES[kind]):
        atoms = frame.copy()
        atoms.calc = HermNetCalculator(checkpoint)
        here = slice(start, start + len(atoms))
        np.testing.assert_allclose(
            found["energy"][system], atoms.get_potential_energy(), rtol=1e-10
        )
        np.testing.assert_allclose(found["forces"][here], atoms.get_forces(), rtol=0, atol=1e-10)
        stress = atoms.get_stress(voigt=False) if atoms.cell.rank == 3 else np.zeros((3, 3))
        np.testing.assert_allclose(found["stress"][system], stress, rtol=0, atol=1e-10)
        start += len(atoms)


@needs_torchsim
def test_torchsim_accepts_the_model(checkpoint: Path):
    check = importlib.import_module("torch_sim.models.interface").validate_model_outputs
    model = model_of(checkpoint)
    check(model, model.device, model.dtype)


@needs_torchsim
def test_simulations_run_as_in_ase(checkpoint: Path):
    ts = importlib.import_module("torch_sim")
    model = model_of(checkpoint)
    frames = [structures.crystal(), structures.crystal(2)]
    state = ts.nve_init(state_of(frames, model), model, kT=300 * units.kB, seed=0)
    momenta = state.momenta.numpy().copy()
    step = torch.tensor(0.5 * units.fs, dtype=torch.float64)
    for _ in range(30):
        state = ts.nve_step(state, model, dt=step)
    assert model.neighbors.n_searches < 10
    for system, frame in enumerate(frames):
        atoms, here = frame.copy(), slice(5 * system, 5 * system + 5)
        atoms.calc = HermNetCalculator(checkpoint)
        atoms.set_momenta(momenta[here])
        VelocityVerlet(atoms, 0.5 * units.fs).run(30)
        np.testing.assert_allclose(state.positions[here], atoms.positions, atol=1e-6)
        np.testing.assert_allclose(state.energy[system], atoms.get_potential_energy(), atol=1e-6)


@needs_torchsim
def test_many_structures_are_relaxed_as_documented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    save_potential(Path("best.ckpt"), (14,), zbl=True)
    frames = [silicon(a, seed) for seed, a in enumerate((5.0, 5.2, 5.4, 5.6))]
    names: dict[str, Any] = {"frames": frames}
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    exec(code, names)
    for before, atoms in zip(frames, names["relaxed"], strict=True):
        atoms.calc = before.calc = HermNetCalculator("best.ckpt")
        assert np.linalg.norm(atoms.get_forces(), axis=1).max() < 0.05
        assert atoms.get_potential_energy() < before.get_potential_energy()


@needs_torchsim
def test_what_cannot_be_computed(checkpoint: Path, tmp_path: Path):
    model = model_of(checkpoint)
    with pytest.raises(InputError, match="the potential does not know Cu; it was trained on H, C"):
        model(state_of([bulk("Cu")], model))
    dipoles = save_model(tmp_path / "dipole.ckpt", properties.random_model("vector"))
    with pytest.raises(InputError, match="which has no energy"):
        model_of(dipoles)


@needs_torchsim
@pytest.mark.slow
def test_the_benchmark_runs(checkpoint: Path, tmp_path: Path):
    script, output = ROOT / "benchmarks" / "torchsim.py", tmp_path / "torchsim.json"
    options = ["--structure", "Si", "--structures", "4", "--sample", "2", "--fmax", "1"]
    command = [sys.executable, str(script), str(checkpoint), *options, "--output", str(output)]
    subprocess.run(command, check=True, capture_output=True)
    found = json.loads(output.read_text(encoding="utf-8"))
    assert found["ratio"] > 0
    assert (found["structures"], found["sample"]) == (4, 2)


@pytest.mark.skipif(HERE, reason="torch-sim is installed")
def test_a_missing_torchsim_is_said(checkpoint: Path):
    with pytest.raises(InputError, match=r'pip install "hermnet\[torchsim\]" \(Python 3.12'):
        model_of(checkpoint)
