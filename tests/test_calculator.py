"""The ASE calculator: the model's own numbers, whatever happens to the structure in between."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.md.verlet import VelocityVerlet

import hermnet
import properties
import structures
from checkpoints import save_model, save_potential
from hermnet import memory
from hermnet.checks import predict
from hermnet.compiled import CompiledEvaluator
from hermnet.errors import InputError

PEROVSKITE = (8, 22, 56)
VOIGT = ([0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_potential(tmp_path_factory.mktemp("a") / "best.ckpt", PEROVSKITE)


@pytest.fixture(scope="module")
def committee(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("committee")
    return [save_potential(folder / f"{k}.ckpt", PEROVSKITE, seed=k) for k in range(3)]


def assert_the_models_numbers(atoms: Atoms, checkpoint: Path) -> None:
    found = predict(hermnet.load_potential(checkpoint), atoms)
    close = {"rtol": 1e-10, "atol": 1e-10}
    np.testing.assert_allclose(atoms.get_potential_energy(), found.energy.item(), **close)
    np.testing.assert_allclose(atoms.get_forces(), found.forces.detach(), **close)
    np.testing.assert_allclose(
        atoms.get_potential_energies(), found.atomic_energies.detach(), **close
    )
    if atoms.cell.rank == 3:
        np.testing.assert_allclose(atoms.get_stress(), found.stress.detach()[0][VOIGT], **close)


def test_it_gives_the_models_numbers(checkpoint: Path):
    atoms = structures.crystal()
    atoms.calc = hermnet.HermNetCalculator(checkpoint)
    assert_the_models_numbers(atoms, checkpoint)
    assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()


def test_each_kind_of_change_is_told_and_nothing_else(checkpoint: Path):
    atoms = structures.crystal()
    calculator = atoms.calc = hermnet.HermNetCalculator(checkpoint)
    atoms.get_forces()
    for name in ("positions", "numbers", "cell", "pbc", "initial_charges", "initial_magmoms"):
        other = atoms.copy()
        assert calculator.check_state(other) == []
        if name.startswith("initial"):
            other.set_array(name, np.ones(len(other)))
        else:
            values = np.array(getattr(other, name))
            values.flat[0] = not values.flat[0] if name == "pbc" else values.flat[0] + 1
            setattr(other, name, values)
        assert calculator.check_state(other) == [name]


def test_everything_about_a_structure_may_change(checkpoint: Path):
    atoms = structures.crystal()
    atoms.calc = hermnet.HermNetCalculator(checkpoint)

    def wrap_back() -> None:
        atoms.positions[0] += atoms.cell[1]
        atoms.positions[1, 0] += 0.02

    changes = {
        "a little": lambda: atoms.rattle(0.01, seed=1),
        "much": lambda: atoms.rattle(0.3, seed=2),
        "around the cell": wrap_back,
        "cell": lambda: atoms.set_cell(atoms.cell * 1.03, scale_atoms=True),
        "periodicity": lambda: atoms.set_pbc((True, False, True)),
        "element": lambda: atoms.numbers.__setitem__(0, 8),
        "atoms": lambda: atoms.append("O"),
        "fewer atoms": lambda: atoms.pop(0),
        "size": lambda: atoms.__imul__((2, 1, 1)),
        "order": lambda: atoms.set_positions(atoms.positions[::-1]),
    }
    for name, change in changes.items():
        before = atoms.get_potential_energy()
        change()
        assert atoms.get_potential_energy() != before, name
        assert_the_models_numbers(atoms, checkpoint)


def test_forces_and_stress_are_those_of_finite_differences(checkpoint: Path):
    atoms = structures.crystal()
    atoms.calc = hermnet.HermNetCalculator(checkpoint)
    forces = calculate_numerical_forces(atoms, eps=1e-4, iatoms=[0, 3])
    np.testing.assert_allclose(atoms.get_forces()[[0, 3]], forces, rtol=1e-6, atol=1e-6)
    stress = calculate_numerical_stress(atoms, eps=1e-5)
    np.testing.assert_allclose(atoms.get_stress(), stress, rtol=1e-6, atol=1e-7)


def test_a_moving_structure_is_searched_rarely_and_keeps_its_energy(checkpoint: Path):
    atoms = structures.crystal()
    atoms.calc = calculator = hermnet.HermNetCalculator(checkpoint)
    atoms.set_velocities(0.05 * np.random.default_rng(0).standard_normal((5, 3)))
    start = atoms.get_total_energy()
    for _ in range(20):
        VelocityVerlet(atoms, 0.2 * units.fs).run(1)
    assert atoms.get_total_energy() == pytest.approx(start, abs=1e-3)
    assert_the_models_numbers(atoms, checkpoint)
    assert calculator.n_searches <= 2


def test_shares_of_the_stress_are_those_of_atoms(checkpoint: Path, committee: list[Path]):
    atoms = structures.crystal() * (2, 1, 1)
    atoms.positions[0] += 0.1
    for paths in (checkpoint, committee):
        atoms.calc = hermnet.HermNetCalculator(paths)
        np.testing.assert_allclose(atoms.get_stresses().sum(axis=0), atoms.get_stress(), atol=1e-12)
    atoms.calc = hermnet.HermNetCalculator(checkpoint)
    stress = atoms.get_stress()
    assert "stresses" not in atoms.calc.results  # they take time
    # far apart, each dimer's stress is on its own atoms, in equal shares
    pair = Atoms("O2Ti2", positions=[(0, 0, 0), (0, 0, 1.2), (9, 0, 0), (9, 1.9, 0)], pbc=True)
    pair.cell = np.diag([18.0, 14.0, 14.0])
    pair.calc = hermnet.HermNetCalculator(checkpoint)
    shares = pair.get_stresses()
    np.testing.assert_allclose(shares[::2], shares[1::2], atol=1e-14)
    assert shares[0, 2] != 0
    assert shares[2, 1] != 0
    np.testing.assert_allclose(shares[:2, [0, 1, 3, 4, 5]], 0, atol=1e-14)
    assert stress.shape == (6,)


def test_a_molecule_has_no_stress(checkpoint: Path):
    atoms = Atoms("O2", positions=[(0, 0, 0), (0, 0, 1.2)])
    atoms.calc = hermnet.HermNetCalculator(checkpoint)
    assert_the_models_numbers(atoms, checkpoint)
    for ask in (atoms.get_stress, atoms.get_stresses):
        with pytest.raises(PropertyNotImplementedError):
            ask()


def test_a_committee_gives_mean_and_spread(committee: list[Path]):
    atoms = structures.crystal()
    atoms.calc = hermnet.HermNetCalculator(committee)
    found = [predict(hermnet.load_potential(path), atoms) for path in committee]
    energies = np.array([one.energy.item() for one in found])
    forces = np.array([one.forces.detach().numpy() for one in found])
    assert atoms.get_potential_energy() == pytest.approx(energies.mean(), abs=1e-10)
    np.testing.assert_allclose(atoms.get_forces(), forces.mean(axis=0), atol=1e-10)
    assert atoms.calc.results["energy_std"] == pytest.approx(energies.std(), abs=1e-10)
    np.testing.assert_allclose(
        atoms.calc.get_property("forces_std", atoms), forces.std(axis=0), atol=1e-10
    )


def test_members_may_have_different_cutoffs(checkpoint: Path, tmp_path: Path):
    other = save_potential(tmp_path / "wide.ckpt", PEROVSKITE, seed=1, cutoff=4.0)
    atoms = structures.crystal()
    atoms.calc = hermnet.HermNetCalculator([checkpoint, other])
    energies = [
        predict(hermnet.load_potential(p), atoms).energy.item() for p in (checkpoint, other)
    ]
    assert atoms.get_potential_energy() == pytest.approx(np.mean(energies), abs=1e-10)


@pytest.mark.parametrize("units", [properties.UNITS, {**properties.UNITS, "dipole": "D"}])
def test_a_dipole_beside_energies(units: dict[str, str], tmp_path: Path):
    model = properties.random_model("vector")
    in_units = hermnet.PropertyModel(model.options, model.elements, model.mean_neighbors, units)
    in_units.load_state_dict(model.state_dict())
    path = save_model(tmp_path / "dipole.ckpt", in_units)
    potential = save_potential(tmp_path / "energy.ckpt", properties.ELEMENTS)
    atoms = properties.ethanol()
    graph = hermnet.graph_from_atoms(atoms, model.cutoff)
    with torch.no_grad():
        expected = model(graph).values[0].numpy()  # e A
    atoms.calc = hermnet.HermNetCalculator([potential, path])
    np.testing.assert_allclose(atoms.get_dipole_moment(), expected, atol=1e-10)
    assert_the_models_numbers(atoms, potential)
    atoms.calc = hermnet.HermNetCalculator(path)
    np.testing.assert_allclose(atoms.get_dipole_moment(), expected, atol=1e-10)
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_potential_energy()


@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize("twin", [copy.deepcopy, lambda calc: pickle.loads(pickle.dumps(calc))])
def test_a_copy_needs_no_files(twin: object, compile: bool, tmp_path: Path):
    path = save_potential(tmp_path / "best.ckpt", PEROVSKITE)
    atoms = structures.crystal()
    atoms.calc = calculator = hermnet.HermNetCalculator(path)
    energy = atoms.get_potential_energy()
    if compile:
        calculator.potentials[0].evaluate = CompiledEvaluator()
    path.unlink()
    atoms = structures.crystal()
    atoms.calc = twin(calculator)
    assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-12)


def test_another_dtype(checkpoint: Path):
    atoms = structures.crystal()
    atoms.calc = hermnet.HermNetCalculator(checkpoint, dtype="float32")
    short = atoms.get_forces()
    atoms.calc = hermnet.HermNetCalculator(checkpoint)
    assert 0 < np.abs(short - atoms.get_forces()).max() < 1e-4 * np.abs(short).max()
    assert short.dtype == np.float64


def test_an_element_that_the_potential_does_not_know(checkpoint: Path):
    atoms = bulk("NaCl", "rocksalt", a=5.6)
    atoms.calc = hermnet.HermNetCalculator(checkpoint)
    message = "does not know Na, Cl; it was trained on O, Ti, Ba"
    with pytest.raises(InputError, match=message):
        atoms.get_forces()


def test_a_structure_that_cannot_be_computed(checkpoint: Path):
    calculator = hermnet.HermNetCalculator(checkpoint)
    with pytest.raises(InputError, match="a structure without atoms"):
        Atoms(calculator=calculator).get_potential_energy()
    lost = Atoms("O2", positions=[(0, 0, 0), (0, 0, np.nan)], calculator=calculator)
    with pytest.raises(InputError, match="position of atom 1 is not a finite number"):
        lost.get_potential_energy()
    twice = Atoms("OTi", positions=[(0, 0, 0), (0, 0, 1e-5)], calculator=calculator)
    for _ in range(2):
        with pytest.raises(InputError, match=r"atoms 0 \(O\) and 1 \(Ti\) are 1e-05 A apart"):
            twice.get_forces()
    flat = Atoms("O2", positions=[(0, 0, 0), (0, 0, 1.2)], pbc=True, calculator=calculator)
    with pytest.raises(InputError, match=r"is periodic .* but its lattice vectors .* are zero"):
        flat.get_potential_energy()


def test_relations_that_training_hardly_saw_are_named_once(tmp_path: Path):
    path = save_potential(tmp_path / "rare.ckpt", PEROVSKITE, relations="pair")
    content = torch.load(path, weights_only=True)
    counts = dict.fromkeys(content["hermnet"]["relations"], 5000) | {"Ti-O": 3, "Ba-Ba": 0}
    content["hermnet"]["relations"] = counts
    torch.save(content, path)
    crystal = structures.crystal()
    crystal.calc = hermnet.HermNetCalculator(path)
    with pytest.warns(UserWarning, match=r"hardly saw .* has: Ti-O \(3 edges\); energies"):
        crystal.get_potential_energy()  # Ba atoms are further apart than the cutoff
    crystal.rattle(0.5, seed=1)
    crystal.get_potential_energy()  # said once; a warning would be an error here
    oxygen = Atoms("O2", positions=[(0, 0, 0), (0, 0, 1.2)])
    oxygen.calc = hermnet.HermNetCalculator(path)
    oxygen.get_potential_energy()


def test_a_structure_larger_than_memory(checkpoint: Path, monkeypatch: pytest.MonkeyPatch):
    atoms = structures.crystal() * (4, 4, 4)
    atoms.calc = hermnet.HermNetCalculator(checkpoint)
    energy = atoms.get_potential_energy()
    monkeypatch.setattr(memory, "MANY_EDGES", 100)
    monkeypatch.setattr(memory, "free_bytes", lambda _: 1e6)
    atoms.calc = hermnet.HermNetCalculator(checkpoint)
    message = r"320 atoms and [\d,]+ edges needs about \d.\d GiB, of which 0.0 GiB are free"
    for _ in range(2):
        with pytest.raises(InputError, match=message):
            atoms.get_potential_energy()
    monkeypatch.undo()
    assert atoms.get_potential_energy() == energy


def test_threads_with_a_copy_each(checkpoint: Path):
    calculator = hermnet.HermNetCalculator(checkpoint)
    frames = [structures.crystal(seed) for seed in range(8)]

    def forces(frame: Atoms, own: hermnet.HermNetCalculator) -> np.ndarray:
        frame = frame.copy()
        frame.calc = own
        return frame.get_forces()

    alone = [forces(frame, calculator) for frame in frames]
    copies = [copy.deepcopy(calculator) for _ in frames]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(forces, frames, copies))
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-14)  # lists differ in order


def test_checkpoints_that_do_not_fit(checkpoint: Path, tmp_path: Path):
    with pytest.raises(InputError, match="at least one checkpoint"):
        hermnet.HermNetCalculator([])
    with pytest.raises(InputError, match=r"there is no checkpoint .*nothing\.ckpt"):
        hermnet.HermNetCalculator(tmp_path / "nothing.ckpt")
    scalars = save_model(tmp_path / "gap.ckpt", properties.random_model("mean"))
    with pytest.raises(InputError, match="a model of gap, u0; a calculator takes potentials and"):
        hermnet.HermNetCalculator(scalars)
    other = save_potential(tmp_path / "other.ckpt", (1, 8))
    with pytest.raises(InputError, match=r"other\.ckpt knows H, O, but .* O, Ti, Ba; members"):
        hermnet.HermNetCalculator([checkpoint, other])


@pytest.mark.parametrize("device", ["gpu", "cuda:99"])
def test_a_device_that_is_not_there(checkpoint: Path, device: str):
    with pytest.raises(InputError, match=f"the device '{device}' cannot be used: "):
        hermnet.HermNetCalculator(checkpoint, device=device)


def test_it_is_imported_only_when_it_is_used():
    program = "import sys, hermnet; assert not {'torch', 'ase', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
