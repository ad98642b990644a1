"""LAMMPS dumps, written here from known structures, against those and against dpdata."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dpdata
import numpy as np
import pytest

from hermnet.data.frames import Frame
from hermnet.datamodule import DATAMODULES
from hermnet.datamodules.lammps import Lammps
from hermnet.errors import InputError

TILTS = (0.7, -0.4, 0.3)  # xy, xz, yz: of both signs, so that the bounds move to both sides
ORIGIN = np.array([0.5, -0.25, 1.0])
CELL = np.array([[5.0, 0, 0], [TILTS[0], 4.5, 0], [TILTS[1], TILTS[2], 6.0]])
TYPES = [2, 1, 1]  # of the atoms with the ids 1, 2, 3
RNG = np.random.default_rng(0)
SCALED = RNG.uniform(0.1, 0.9, size=(3, 3, 3))  # (n_frames, n_atoms, 3)
FORCES = RNG.normal(size=(3, 3, 3))
ENERGIES = [-1.5, -2.5, -3.5]
KCAL = 0.0433641153


def bounds(flags: str = "pp pp pp") -> str:
    """As LAMMPS' manual on triclinic boxes defines them."""
    (lx, ly, lz), (xy, xz, yz) = np.diag(CELL), TILTS
    x, y, z = ORIGIN
    low, high = min(0, xy, xz, xy + xz), max(0, xy, xz, xy + xz)
    return (
        f"ITEM: BOX BOUNDS xy xz yz {flags}".rstrip() + "\n"
        f"{x + low} {x + lx + high} {xy}\n"
        f"{y + min(0, yz)} {y + ly + max(0, yz)} {xz}\n"
        f"{z} {z + lz} {yz}\n"
    )


def dump(n_frames: int = 3, flags: str = "pp pp pp", element: bool = False) -> str:
    """Atoms in another order in each frame, as parallel runs write them."""
    text = ""
    for k in range(n_frames):
        columns = "id type x y z fx fy fz c_pe" + (" element" if element else "")
        text += f"ITEM: TIMESTEP\n{10 * k}\nITEM: NUMBER OF ATOMS\n3\n{bounds(flags)}"
        text += f"ITEM: ATOMS {columns}\n"
        for i in np.roll(range(3), k):
            numbers = (*(SCALED[k, i] @ CELL + ORIGIN), *FORCES[k, i], 0.1 * i)
            symbol = f" {['Fe', 'O'][TYPES[i] - 1]}" if element else ""
            text += f"{i + 1} {TYPES[i]} {' '.join(f'{x:.12f}' for x in numbers)}{symbol}\n"
    return text


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "md.dump").write_text(dump())
    np.savetxt(tmp_path / "md.energy", ENERGIES)
    return tmp_path / "md.dump"


def frames(path: Path, **options: Any) -> list[Frame]:
    given = {"type_map": ["Fe", "O"], "labels": [], **options}
    found = Lammps(train=str(path), **given).open(path, "")
    return [found[index] for index in range(len(found))]


def test_structures_and_labels_come_back_as_they_were(path: Path):
    data = Lammps(train=str(path), type_map=["Fe", "O"], energies=str(path.with_name("md.energy")))
    graphs = data.read()["train"]
    assert len(graphs) == 3
    for k, graph in enumerate(graphs):
        assert graph.atomic_numbers.tolist() == [8, 26, 26]
        assert graph.pbc.all()
        np.testing.assert_allclose(graph.cell[0], CELL, atol=1e-12)
        np.testing.assert_allclose(graph.positions, SCALED[k] @ CELL + ORIGIN, atol=1e-10)
        np.testing.assert_allclose(graph.forces, FORCES[k], atol=1e-10)
        assert float(graph.energy) == ENERGIES[k]


def test_dpdata_reads_the_same_structures(path: Path):
    other = dpdata.System(str(path), fmt="lammps/dump", type_map=["Fe", "O"])
    for k, frame in enumerate(frames(path)):
        np.testing.assert_allclose(frame.cell, other["cells"][k], atol=1e-10)
        apart = (frame.positions - ORIGIN - other["coords"][k]) @ np.linalg.inv(frame.cell)
        np.testing.assert_allclose(apart, np.round(apart), atol=1e-10)


def test_units_follow_the_style(path: Path):
    energies = str(path.with_name("md.energy"))
    real = Lammps(train=str(path), type_map=["Fe", "O"], style="real", energies=energies)
    graph = real.read()["train"][1]
    assert float(graph.energy) == pytest.approx(ENERGIES[1] * KCAL)
    np.testing.assert_allclose(graph.forces, FORCES[1] * KCAL, atol=1e-10)
    np.testing.assert_allclose(graph.cell[0], CELL, atol=1e-12)
    electron = Lammps(train=str(path), type_map=["Fe", "O"], style="electron", labels=["forces"])
    graph = electron.read()["train"][1]
    np.testing.assert_allclose(graph.cell[0], CELL * 0.529177, rtol=1e-6)
    np.testing.assert_allclose(graph.forces, FORCES[1] * 27.211386 / 0.529177, rtol=1e-6)
    mixed = Lammps(train=str(path), type_map=["Fe", "O"], energies=energies, units={"energy": "Ha"})
    assert float(mixed.read()["train"][0].energy) == pytest.approx(ENERGIES[0] * 27.211386)


def test_energies_by_time_step(path: Path):
    table = [[10 * k, energy] for k, energy in enumerate(ENERGIES)]
    np.savetxt(path.with_name("md.steps"), [[5, 9.0], *reversed(table)], header="step energy")
    data = Lammps(
        train=f"{path}::1:", type_map=["Fe", "O"], energies=str(path.with_name("*.steps"))
    )
    assert [float(graph.energy) for graph in data.read()["train"]] == ENERGIES[1:]
    np.savetxt(path.with_name("md.steps"), table[:2])
    with pytest.raises(InputError, match=r"md.steps has no energy of time step 20 of .*md.dump"):
        data.read()


def test_each_dump_has_energies_of_its_own(path: Path):
    other = path.with_name("late.dump")
    other.write_text(dump(1))
    np.savetxt(path.with_name("late.energy"), [7.0])
    options = {"type_map": ["Fe", "O"], "train": str(path), "val": str(other)}
    splits = Lammps(energies=str(path.with_name("*.energy")), **options).read()
    assert [float(graph.energy) for graph in splits["val"]] == [7.0]
    assert [float(graph.energy) for graph in splits["train"]] == ENERGIES
    with pytest.raises(InputError, match=r"md.energy is of .*md.dump, not .*late.dump; write \*"):
        Lammps(energies=str(path.with_name("md.energy")), **options).read()


def test_elements_of_the_dump(tmp_path: Path):
    path = tmp_path / "md.dump.gz"
    path.write_bytes(gzip.compress(dump(element=True).encode()))
    assert frames(path, type_map=None)[2].numbers.tolist() == [8, 26, 26]
    assert frames(path, type_map=["Ni", "S"])[2].numbers.tolist() == [16, 28, 28]
    assert frames(path)[0].values["c_pe"].tolist() == [0.0, 0.1, 0.2]


def test_forces_in_columns_of_a_compute(path: Path):
    path.write_text(path.read_text().replace("fx fy fz", "c_f[1] c_f[2] c_f[3]"))
    columns = ["c_f[1]", "c_f[2]", "c_f[3]"]
    options = {"labels": ["forces"], "type_map": ["Fe", "O"]}
    data = Lammps(train=str(path), forces=columns, style="real", **options)
    for k, graph in enumerate(data.read()["train"]):
        np.testing.assert_allclose(graph.forces, FORCES[k] * KCAL, rtol=1e-9)
    with pytest.raises(InputError, match=r"frame 0 has no column 'c_f\[4\]' for forces .*c_f\[3\]"):
        frames(path, forces=["c_f[2]", "c_f[3]", "c_f[4]"])
    with pytest.raises(InputError, match="forces are three columns, for x, y and z, not 1"):
        frames(path, forces=["c_f[1]"])


def test_without_energies(path: Path):
    options = {"train": str(path), "type_map": ["Fe", "O"]}
    with pytest.raises(InputError, match=r"md.dump: a dump has no energies: give `energies`"):
        Lammps(**options).read()
    (graph, *_) = Lammps(labels=["forces"], **options).read()["train"]
    assert graph.energy is None
    masked = Lammps(missing="mask", **options).read()["train"]
    assert masked[0].energy.isnan().all()


def test_directions_that_are_periodic(tmp_path: Path):
    path = tmp_path / "md.dump"
    path.write_text(dump(flags="pp ff pp"))
    assert frames(path)[0].pbc.tolist() == [True, False, True]
    path.write_text(dump(flags=""))
    with pytest.raises(InputError, match=r"does not say what is periodic: give pbc, such as \["):
        frames(path)
    assert frames(path, pbc=[True, True, False])[0].pbc.tolist() == [True, True, False]
    with pytest.raises(InputError, match="pbc is for the directions x, y and z, not 2 of them"):
        Lammps(train="md.dump", pbc=[True, True])


@pytest.mark.parametrize("cut", [3, 40, 200])
def test_of_a_truncated_dump_the_complete_frames_are_read(path: Path, cut: int):
    path.write_text(dump()[:-cut])
    with pytest.warns(UserWarning, match=r"md.dump is cut off: read 2 complete frames"):
        found = frames(path)
    assert len(found) == 2
    np.testing.assert_allclose(found[1].positions, SCALED[1] @ CELL + ORIGIN, atol=1e-10)


def without_row(text: str) -> str:
    """The dump without the first atom of its first frame."""
    return "".join(line for line in text.splitlines(keepends=True) if line[:4] != "1 2 ")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without_row, "frame 0 lacks atoms"),
        (lambda text: text[:200], "frame 0 lacks atoms"),
        (lambda _: "what is this?\n", "is no LAMMPS text dump: there is no 'ITEM: TIMESTEP'"),
        (lambda _: "ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\nfour\n", "is no LAMMPS dump: inval"),
        (
            lambda text: text + text.replace("c_pe", "c_ke"),
            "frames with different columns: ITEM: ATOMS id type x y z fx fy fz c_ke; ITEM",
        ),
        (
            lambda text: text.replace("id type x y z", "id type a b c"),
            "ASE cannot read .*md.dump: ValueError: No atomic positions",
        ),
        (lambda text: text.replace("\n3 1 ", "\n3 9 "), "frame 0 has atom type 9, .* only 1 to 2"),
        (lambda text: text.replace("id type", "id mol"), "ASE cannot read|has no column 'type'"),
    ],
)
def test_dumps_that_cannot_be_used(path: Path, spoil: Callable[[str], str], message: str):
    path.write_text(spoil(dump()))
    with pytest.raises(InputError, match=message):
        frames(path)


def test_not_a_number(path: Path):
    path.write_text(dump().replace(f"{FORCES[1, 1, 0]:.12f}", "nan"))
    with pytest.raises(InputError, match="frame 1: forces 'forces' has NaN or infinity"):
        Lammps(train=str(path), type_map=["Fe", "O"], labels=["forces"]).read()


def test_no_elements(path: Path):
    with pytest.raises(InputError, match=r"names no elements: .*type_map, such as \[Fe, O\].*c_pe"):
        frames(path, type_map=None)
    with pytest.raises(InputError, match="'Qq' is no element symbol"):
        frames(path, type_map=["Fe", "Qq"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\n2\n", r"has 2 rows of 1 numbers; .*md.dump has 3 frames; give one energy"),
        ("1 2 3\n" * 3, "has 3 rows of 3 numbers"),
        ("low\n", "cannot read .*md.energy as numbers"),
    ],
)
def test_bad_energies(path: Path, text: str, message: str):
    path.with_name("md.energy").write_text(text)
    with pytest.raises(InputError, match=message):
        frames(path, energies=str(path.with_name("md.energy")), labels=["energy"])


def test_files_that_cannot_be_opened(path: Path):
    with pytest.raises(InputError, match=r"cannot read .*none.energy as numbers: .*not found"):
        frames(path, energies=str(path.with_name("none.energy")))
    path.unlink()
    path.mkdir()
    with pytest.raises(InputError, match=r"cannot read .*md.dump: .*[Ii]s a directory"):
        frames(path)
    binary = path.with_name("md.bin")
    binary.touch()
    with pytest.raises(InputError, match=r"md.bin is a binary dump; known: text dumps"):
        frames(binary)


def test_the_name_in_recipes():
    assert DATAMODULES.get("lammps") is Lammps


def test_dump_and_energies_tell_whether_facts_are_still_true(path: Path):
    file = path.with_name("md.energy")

    def known(part: str = "", **options: Any) -> str | None:
        given = {"type_map": ["Fe", "O"], "energies": str(file), **options}
        return Lammps(train=str(path), **given).open(path, part).fingerprint()

    before = known()
    assert before is not None
    assert known() == before
    assert len({before, known("0:2"), known(type_map=["Fe", "N"])}) == 3
    np.savetxt(file, [energy - 1 for energy in ENERGIES])
    changed = known()
    assert changed != before
    path.write_text(dump(element=True))
    assert known() != changed
