"""i-PI with a potential: the real one, and what is said when it is not there."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.calculators.socketio import SocketIOCalculator

import structures
from checkpoints import save_potential
from hermnet import HermNetCalculator, InputError, cli
from hermnet.engines.ipi import Address, serve

ELEMENTS = (1, 6, 8)
DIGITS = 1e-4  # eV; i-PI writes positions with six digits
needs_ipi = pytest.mark.skipif(find_spec("ipi") is None, reason="i-PI is not installed")
TEXT = (Path(__file__).parents[2] / "docs" / "ipi.md").read_text(encoding="utf-8")
NVT = re.compile(r"mode='nvt'|<thermostat.*?</thermostat>", flags=re.DOTALL)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_potential(tmp_path_factory.mktemp("potential") / "best.ckpt", ELEMENTS)


@pytest.fixture
def name() -> Iterator[str]:
    """Of a socket that nobody else uses."""
    name = f"hermnet-{os.getpid()}"
    yield name
    Path(f"/tmp/ipi_{name}").unlink(missing_ok=True)


def run_ipi(folder: Path, checkpoint: Path, name: str, text: str) -> str:
    """Run i-PI 10 steps with the command as its client; what the command prints."""
    atoms = structures.molecule()
    ase.io.write(folder / "ethanol.xyz", atoms)
    ase.io.write(folder / "start.xyz", atoms, format="xyz")
    (folder / "input.xml").write_text(text.replace("<address>ethanol", f"<address>{name}"))
    client = [sys.executable, "-m", "hermnet.cli", "serve-ipi", "ethanol.xyz"]
    client += ["--checkpoint", str(checkpoint), "--socket", name, "--wait", "300"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = [str(Path(sys.executable).with_name("i-pi")), "input.xml"]
    with subprocess.Popen(server, cwd=folder, **quiet) as ipi:
        try:
            done = subprocess.run(client, cwd=folder, capture_output=True, text=True, timeout=400)
            assert done.returncode == 0, done.stderr
            assert ipi.wait(100) == 0
        finally:
            ipi.kill()
    return done.stdout


@needs_ipi
@pytest.mark.slow
def test_ipi_simulates_at_constant_energy(checkpoint: Path, tmp_path: Path, name: str):
    (text,) = re.findall(r"```xml\n(.*?)```", TEXT, flags=re.DOTALL)
    text = NVT.sub(lambda found: "mode='nve'" if found[0].startswith("mode") else "", text)
    text = text.replace("nbeads='4'", "nbeads='1'").replace("stride='5'", "stride='1'")
    printed = run_ipi(tmp_path, checkpoint, name, text)
    assert "9 atoms, not periodic" in printed
    assert "i-PI has ended; 11 structures computed" in printed
    _, _, conserved, potential = np.loadtxt(tmp_path / "ethanol.out").T
    assert len(conserved) == 11
    assert np.ptp(conserved) < 1e-3 < 5e-3 < np.ptp(potential)
    frames = ase.io.read(tmp_path / "ethanol.pos_0.xyz", index=":", format="xyz")
    energies = []
    for atoms in frames:
        atoms.calc = HermNetCalculator(checkpoint)
        energies.append(atoms.get_potential_energy())
    np.testing.assert_allclose(potential, energies, rtol=0, atol=DIGITS)


@needs_ipi
@pytest.mark.slow
def test_ipi_runs_the_documented_path_integral(checkpoint: Path, tmp_path: Path, name: str):
    (text,) = re.findall(r"```xml\n(.*?)```", TEXT, flags=re.DOTALL)
    printed = run_ipi(tmp_path, checkpoint, name, text)
    assert "i-PI has ended; 44 structures computed" in printed  # 4 beads, 10 steps and the start
    _, _, conserved, potential = np.loadtxt(tmp_path / "ethanol.out").T
    assert np.ptp(conserved) < 1e-3 < 5e-3 < np.ptp(potential)
    beads = [ase.io.read(tmp_path / f"ethanol.pos_{k}.xyz", format="xyz") for k in range(4)]
    energies = []
    for atoms in beads:
        atoms.calc = HermNetCalculator(checkpoint)
        energies.append(atoms.get_potential_energy())
    assert np.ptp(energies) > 0.0
    assert potential[-1] == pytest.approx(np.mean(energies), abs=DIGITS)


def test_energy_forces_and_virial_of_a_crystal_arrive(tmp_path: Path, name: str):
    path = save_potential(tmp_path / "best.ckpt", (8, 22, 56))
    atoms = structures.crystal()
    template = atoms.copy()
    template.positions += 1.0
    counts: list[int] = []

    def client() -> None:
        counts.append(serve(template, HermNetCalculator(path), Address(name), wait=20))

    thread = threading.Thread(target=client)
    thread.start()
    with SocketIOCalculator(unixsocket=name) as server:
        atoms.calc = server
        found = atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
    thread.join(20)
    atoms.calc = HermNetCalculator(path)
    expected = atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)
    assert counts == [1]


def test_nobody_listens(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    ase.io.write(tmp_path / "ethanol.xyz", structures.molecule())
    given = ["serve-ipi", str(tmp_path / "ethanol.xyz"), "--checkpoint", str(checkpoint)]
    with socket.socket() as free:  # bound, but nobody listens
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
        for where, message in (
            (["--socket", "nobody"], "nobody listens on the socket /tmp/ipi_nobody (waited 0.3 s)"),
            (["--port", port], f"nobody listens on port {port} of localhost (waited 0.3 s)"),
            (["--port", "70000"], "cannot connect to port 70000 of localhost: .*0-65535"),
            (["--host", "no.such.invalid"], "cannot connect to port 31415 of no.such.invalid"),
            (["--host", "a", "--socket", "b"], "give --socket for a UNIX socket, or --host and"),
            ([], "give --socket NAME, or --host and --port: where i-PI listens"),
        ):
            assert cli.main([*given, "--wait", "0.3", *where]) == 2
            (line,) = capsys.readouterr().err.splitlines()
            assert re.search(message if "*" in message else re.escape(message), line), line


def test_a_structure_that_the_potential_does_not_know(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    ase.io.write(tmp_path / "crystal.xyz", structures.crystal())
    given = ["serve-ipi", str(tmp_path / "crystal.xyz"), "--checkpoint", str(checkpoint)]
    assert cli.main([*given, "--socket", "nobody"]) == 2
    assert "the potential does not know Ti, Ba" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "n_atoms", "value", "message"),
    [
        (b"GETFORCE", 9, 0.0, "i-PI sends the message 'GETFORCE', which is not expected now"),
        (
            b"POSDATA",
            8,
            0.0,
            "i-PI sends 8 atoms, the structure has 9; give the one that",
        ),
        (b"POSDATA", 9, np.nan, "i-PI sends positions or a cell that are not finite"),
    ],
)
def test_another_structure_is_refused(
    word: bytes, n_atoms: int, value: float, message: str, checkpoint: Path, name: str
):
    def server() -> None:
        connection, _ = listening.accept()
        with connection:
            parts = [word.ljust(12), np.eye(3), np.eye(3), np.array([n_atoms], dtype=np.int32)]
            parts.append(np.full((n_atoms, 3), value))
            connection.sendall(b"".join(map(bytes, parts)))
            with contextlib.suppress(ConnectionError):
                connection.recv(12)

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"/tmp/ipi_{name}")
        listening.listen()
        thread = threading.Thread(target=server)
        thread.start()
        with pytest.raises(InputError, match=re.escape(message)):
            serve(structures.molecule(), HermNetCalculator(checkpoint), Address(name))
        thread.join(20)
