from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.constraints import FixAtoms

import structures
from checkpoints import save_potential
from hermnet.calculator import HermNetCalculator
from hermnet.errors import InputError
from hermnet.properties.dynamics import FILES, FINAL, STATE, run_dynamics
from hermnet.properties.dynamics_log import THERMO, TRAJECTORY, read_thermo
from hermnet.properties.settings import DynamicsSettings

SHORT = DynamicsSettings(steps=30, every=4, save_every=7, timestep=2.0, seed=1)
ENSEMBLES = ("nve", "langevin", "nose-hoover", "npt", "npt-cell")


def copper() -> Atoms:
    return bulk("Cu", cubic=True) * (2, 1, 1)


class Killed(Exception):
    pass


class Mortal(EMT):
    """EMT that dies after some calls."""

    lives = 0

    def calculate(self, *arguments: Any, **options: Any) -> None:
        self.lives -= 1
        if self.lives < 0:
            raise Killed
        super().calculate(*arguments, **options)


def test_energy_is_conserved_by_a_potential(tmp_path: Path):
    path = save_potential(tmp_path / "a.ckpt", (8, 22, 56))
    settings = DynamicsSettings("nve", temperature=300, timestep=0.5, steps=200, every=5)
    spreads = []
    for timestep in (0.5, 0.25):
        chosen = replace(settings, timestep=timestep, steps=round(15 / timestep))
        atoms = structures.crystal()
        found = run_dynamics(atoms, HermNetCalculator(path), tmp_path / str(timestep), chosen)
        spreads.append(np.ptp(found.thermo["conserved_energy_eV"]))
        assert np.ptp(found.thermo["potential_energy_eV"]) > 50 * spreads[-1]
    assert spreads[0] < 2e-3
    assert spreads[1] == pytest.approx(spreads[0] / 4, rel=0.3)  # Verlet is of second order


@pytest.mark.parametrize("ensemble", ["nose-hoover", "npt", "npt-cell"])
def test_what_thermostats_conserve(ensemble: Any, tmp_path: Path):
    settings = replace(SHORT, ensemble=ensemble, pressure=0.0, steps=60, temperature=500)
    found = run_dynamics(copper(), EMT(), tmp_path / "md", settings).thermo
    assert np.ptp(found["conserved_energy_eV"]) < 0.02 * np.ptp(found["potential_energy_eV"])
    assert np.ptp(found["volume_A3"]) > 0.01 if settings.has_barostat else True


@pytest.mark.slow
@pytest.mark.parametrize("ensemble", ["langevin", "nose-hoover"])
def test_a_thermostat_has_its_temperature(ensemble: Any, tmp_path: Path):
    settings = DynamicsSettings(
        ensemble, 300, steps=1200, timestep=4.0, friction=20, thermostat_time=50, save_every=600
    )
    crystal = bulk("Ar", cubic=True, a=5.3)
    calculator = LennardJones(sigma=3.4, epsilon=0.3, rc=5.0, smooth=True)
    found = run_dynamics(crystal, calculator, tmp_path / "md", settings)
    assert found.averages()["temperature_K"] == pytest.approx(300, rel=0.15)


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_a_killed_run_goes_on_without_a_gap(ensemble: Any, tmp_path: Path):
    settings = replace(SHORT, ensemble=ensemble)
    if ensemble in ("langevin", "nose-hoover"):
        settings = replace(settings, final_temperature=500.0)
    whole = run_dynamics(copper(), EMT(), tmp_path / "whole", settings)
    calculator = Mortal()
    calculator.lives = 19  # after a frame and a row that no state knows of
    with pytest.raises(Killed):
        run_dynamics(copper(), calculator, tmp_path / "killed", settings)
    assert (tmp_path / "killed" / STATE).is_file()
    resumed = run_dynamics(copper(), EMT(), tmp_path / "killed", settings, resume=True)
    for name, values in whole.thermo.items():
        np.testing.assert_allclose(resumed.thermo[name], values, rtol=1e-10, atol=1e-9)
    frames = {k: ase.io.read(tmp_path / k / TRAJECTORY, index=":") for k in ("whole", "killed")}
    assert [atoms.info["step"] for atoms in frames["killed"]] == list(range(0, 31, 4))
    for one, other in zip(frames["whole"], frames["killed"], strict=True):
        np.testing.assert_allclose(other.positions, one.positions, atol=1e-7)
        np.testing.assert_allclose(other.get_momenta(), one.get_momenta(), atol=1e-7)


@pytest.mark.slow
def test_a_process_that_is_killed_for_good(tmp_path: Path):
    program = (
        "from ase.build import bulk; from ase.calculators.emt import EMT\n"
        "from hermnet.properties.dynamics import run_dynamics\n"
        "from hermnet.properties.settings import DynamicsSettings\n"
        "settings = DynamicsSettings(steps=10**6, every=2, save_every=3)\n"
        f"run_dynamics(bulk('Cu', cubic=True), EMT(), {str(tmp_path / 'md')!r}, settings)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    table = tmp_path / "md" / THERMO
    for _ in range(600):
        if table.is_file() and table.read_bytes().count(b"\n") > 10:
            break
        time.sleep(0.1)
    process.kill()
    process.wait()
    before = len(read_thermo(table)["step"]) if table.read_bytes().endswith(b"\n") else 10
    settings = DynamicsSettings(steps=10 * before, every=2, save_every=3)
    run_dynamics(bulk("Cu", cubic=True), EMT(), tmp_path / "md", settings, resume=True)
    steps = read_thermo(table)["step"].astype(int).tolist()
    assert steps == list(range(0, 10 * before + 1, 2))


def test_a_finished_run_can_be_prolonged(tmp_path: Path):
    run_dynamics(copper(), EMT(), tmp_path / "a", SHORT)
    longer = replace(SHORT, steps=44)
    found = run_dynamics(copper(), EMT(), tmp_path / "a", longer, resume=True)
    whole = run_dynamics(copper(), EMT(), tmp_path / "b", longer)
    np.testing.assert_allclose(
        found.thermo["potential_energy_eV"], whole.thermo["potential_energy_eV"], atol=1e-9
    )


@pytest.mark.slow
def test_a_ramp_reaches_its_end(tmp_path: Path):
    settings = DynamicsSettings(
        temperature=100, final_temperature=900, steps=400, timestep=4, friction=100, every=2
    )
    found = run_dynamics(copper(), EMT(), tmp_path / "md", settings).thermo["temperature_K"]
    assert found[:20].mean() == pytest.approx(120, abs=60)
    assert found[-40:].mean() == pytest.approx(860, rel=0.25)
    assert settings.temperature_at(200) == 500


@pytest.mark.slow
def test_a_barostat_has_its_pressure(tmp_path: Path):
    settings = DynamicsSettings(
        "npt", 100, pressure=5.0, steps=300, timestep=4, barostat_time=200, save_every=300
    )
    found = run_dynamics(copper(), EMT(), tmp_path / "md", settings)
    assert found.averages()["pressure_GPa"] == pytest.approx(5.0, abs=2.0)
    assert found.averages()["volume_A3"] < copper().get_volume()


def test_velocities_of_the_structure_are_kept(tmp_path: Path):
    atoms = copper()
    atoms.set_velocities(np.full((8, 3), 0.01))
    run_dynamics(atoms, EMT(), tmp_path / "md", replace(SHORT, ensemble="nve", steps=4))
    first, last = ase.io.read(tmp_path / "md" / TRAJECTORY, index=":")
    np.testing.assert_allclose(first.get_velocities(), 0.01, atol=1e-8)
    assert last.info["time"] == 8.0
    moved = (last.positions - first.positions).mean(axis=0)
    np.testing.assert_allclose(moved, 0.01 * 8 * units.fs, rtol=1e-5)


def test_velocities_are_drawn_for_the_temperature(tmp_path: Path):
    found = run_dynamics(copper(), EMT(), tmp_path / "md", replace(SHORT, steps=1))
    assert found.thermo["temperature_K"][0] == pytest.approx(300)
    first = ase.io.read(tmp_path / "md" / TRAJECTORY, index=0)
    np.testing.assert_allclose(first.get_momenta().sum(axis=0), 0, atol=1e-6)


def test_what_is_written(tmp_path: Path):
    atoms = copper()
    atoms.set_constraint(FixAtoms([0]))
    found = run_dynamics(atoms, EMT(), tmp_path / "md", SHORT)
    assert {path.name for path in (tmp_path / "md").iterdir()} == set(FILES) - {STATE + ".part"}
    final = ase.io.read(tmp_path / "md" / FINAL)
    np.testing.assert_allclose(final.positions[0], atoms.positions[0])
    content = json.loads((tmp_path / "md" / "md.json").read_text())
    assert content["time_fs"] == 56.0
    assert content["averages_of_second_half"] == found.averages()
    assert found.lines()[0].startswith("56 fs of langevin")


def test_atoms_that_fly_apart_end_the_run(tmp_path: Path):
    atoms = copper()
    atoms.positions[0] = atoms.positions[1] + (0.2, 0.1, 0)
    hot = replace(SHORT, max_temperature=1e9)
    with pytest.raises(
        InputError, match=r"stopped at step 1 \(2 fs\): atoms fly apart: atom \d \(Cu\)"
    ):
        run_dynamics(atoms, EMT(), tmp_path / "md", hot)
    assert (tmp_path / "md" / "md.png").is_file()
    warm = replace(SHORT, max_temperature=100.0)
    with pytest.raises(InputError, match=r"the temperature is \d+ K, beyond max_temperature 100 K"):
        run_dynamics(copper(), EMT(), tmp_path / "md", warm, overwrite=True)


def test_an_atom_that_leaves_the_cutoff_ends_the_run(tmp_path: Path):
    path = save_potential(tmp_path / "a.ckpt", (8,), cutoff=3.0)
    pair = Atoms("O2", positions=[(0, 0, 0), (0, 0, 2.9)])
    pair.set_velocities([(0, 0, 0), (0, 0, 0.5)])
    settings = replace(SHORT, ensemble="nve", max_temperature=1e9)
    with pytest.raises(
        InputError, match=r"atom \d \(O\) has no neighbor within the potential's cut"
    ):
        run_dynamics(pair, HermNetCalculator(path), tmp_path / "md", settings)


def test_a_committee_that_disagrees_ends_the_run(tmp_path: Path):
    paths = [save_potential(tmp_path / f"{k}.ckpt", (8, 22, 56), seed=k) for k in range(2)]
    settings = replace(SHORT, timestep=0.1, steps=4, every=2)
    committee = HermNetCalculator(paths)
    found = run_dynamics(structures.crystal(), committee, tmp_path / "all", settings)
    spread = found.thermo["largest_forces_std_eV_per_A"]
    assert (spread > 0).all()
    limited = replace(settings, max_disagreement=float(spread.min()) / 2)
    message = r"step 1 .*the committee disagrees: the force on atom \d \(\w+\) has a standard devi"
    with pytest.raises(InputError, match=message):
        run_dynamics(structures.crystal(), committee, tmp_path / "some", limited)


def test_what_cannot_be_simulated(tmp_path: Path):
    with pytest.raises(InputError, match="npt needs a structure that is periodic in three direct"):
        run_dynamics(molecule("H2O"), EMT(), tmp_path / "a", replace(SHORT, ensemble="npt"))
    fixed = copper()
    fixed.set_constraint(FixAtoms([0]))
    with pytest.raises(InputError, match="nose-hoover does not know how constraints count"):
        run_dynamics(fixed, EMT(), tmp_path / "a", replace(SHORT, ensemble="nose-hoover"))
    assert not (tmp_path / "a").exists()


def test_a_folder_is_not_taken_from_another_run(tmp_path: Path):
    folder = tmp_path / "md"
    with pytest.raises(
        InputError, match=r"there is no simulation to resume: .*state\.npz is missing"
    ):
        run_dynamics(copper(), EMT(), folder, SHORT, resume=True)
    run_dynamics(copper(), EMT(), folder, replace(SHORT, steps=4))
    with pytest.raises(InputError, match="is there already: give --overwrite or another --output"):
        run_dynamics(copper(), EMT(), folder, SHORT)
    with pytest.raises(InputError, match="simulation to resume had ensemble = langevin, not nve"):
        run_dynamics(copper(), EMT(), folder, replace(SHORT, ensemble="nve"), resume=True)
    with pytest.raises(InputError, match="simulation to resume has 8 atoms, the structure 4"):
        run_dynamics(bulk("Cu", cubic=True), EMT(), folder, SHORT, resume=True)
    shutil.copy(folder / STATE, tmp_path / "state")
    (folder / STATE).write_text("nothing")
    with pytest.raises(InputError, match=r"state\.npz does not hold the state of a simulation"):
        run_dynamics(copper(), EMT(), folder, SHORT, resume=True)
    shutil.copy(tmp_path / "state", folder / STATE)
    (folder / TRAJECTORY).write_text("")
    with pytest.raises(InputError, match=r"trajectory\.xyz was cut or replaced"):
        run_dynamics(copper(), EMT(), folder, SHORT, resume=True)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"timestep": 0}, "timestep must be positive, not 0"),
        ({"steps": -3}, "steps must be positive, not -3"),
        ({"temperature": -1}, "temperature cannot be -1 K"),
        ({"ensemble": "nve", "final_temperature": 5}, "nve has no thermostat that could follow"),
        ({"pressure": 1}, "langevin has no barostat for a pressure; choose npt"),
        ({"seed": -1}, "seed must be 0 or more, not -1"),
    ],
)
def test_settings_that_make_no_sense(wrong: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        DynamicsSettings(**wrong)
