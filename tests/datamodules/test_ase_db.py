"""ASE databases against the structures that ASE wrote into them."""

from __future__ import annotations

import pickle
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.db import connect

import tiny
from hermnet.data import sqlite
from hermnet.data.aselmdb import HANDLES, Handles, LmdbFrames
from hermnet.data.sqlite import SqliteFrames
from hermnet.datamodule import DATAMODULES
from hermnet.datamodules.ase_db import AseDb
from hermnet.errors import InputError
from hermnet.graph import AtomicGraph

LABELS = ["energy", "forces", "stress"]
FRAMES = [tiny.alloy(0), tiny.methanol(1), tiny.alloy(2), tiny.methanol(3), tiny.alloy(4)]
ALLOYS = [tiny.alloy(seed) for seed in range(6)]
KCAL = {"energy": "kcal/mol"}


def write(path: Path, frames: Sequence[Atoms], units: object = None, **row: Any) -> Path:
    """A database as ASE, or ase-db-backends, writes it."""
    path.parent.mkdir(exist_ok=True)
    database = connect(path)
    for index, atoms in enumerate(frames):
        database.write(atoms, group=f"run{index // 2}", data={"E_ref": 10.0 + index}, **row)
    if units is not None:
        database.metadata = {"units": units}
    if path.suffix == ".aselmdb":
        database.close()
    return path


@contextmanager
def writing(path: Path) -> Iterator[Any]:
    """A transaction that writes keys into an LMDB file."""
    HANDLES.close()
    options = {"subdir": False, "lock": False, "map_size": 1 << 24}
    with lmdb.open(str(path), **options) as file, file.begin(write=True) as transaction:
        yield transaction


def graphs(path: object, **options: Any) -> Sequence[AtomicGraph]:
    return AseDb(train=str(path), **options).read()["train"]


def energies(path: object, **options: Any) -> list[float]:
    return [float(graph.energy) for graph in graphs(path, labels=["energy"], **options)]


each_format = pytest.mark.parametrize("suffix", [".db", ".aselmdb"])


@each_format
def test_frames_are_those_that_ase_wrote(tmp_path: Path, suffix: str):
    assert DATAMODULES.get("ase_db") is AseDb
    path = write(tmp_path / f"all{suffix}", FRAMES)
    found = graphs(path, labels=LABELS, missing="mask")
    assert not found.in_memory
    for atoms, graph in zip(FRAMES, found, strict=True):
        np.testing.assert_array_equal(graph.atomic_numbers, atoms.numbers)
        np.testing.assert_array_equal(graph.positions, atoms.positions)
        np.testing.assert_array_equal(graph.cell[0], atoms.cell.array)
        np.testing.assert_array_equal(graph.pbc[0], atoms.pbc)
        assert float(graph.energy) == atoms.get_potential_energy()
        np.testing.assert_array_equal(graph.forces, atoms.get_forces())
        if atoms.pbc.all():
            np.testing.assert_array_equal(graph.stress[0], atoms.get_stress(voigt=False))
        else:
            assert graph.stress.isnan().all()


@each_format
def test_labels_are_found_in_data_and_key_value_pairs(tmp_path: Path, suffix: str):
    path = write(tmp_path / f"all{suffix}", FRAMES, E_model=2.5)
    assert energies(path, keys={"energy": "E_ref"}) == [10.0, 11.0, 12.0, 13.0, 14.0]
    assert energies(path, keys={"energy": "E_model"}) == [2.5] * 5
    splits = AseDb(train=str(path), n_val=1, group_key="group").read()
    assert sorted([len(splits["train"]), len(splits["val"])]) in ([1, 4], [2, 3])
    with pytest.raises(InputError, match=rf"all{suffix}, row 1: no energy 'E_dft'; .*E_ref"):
        energies(path, keys={"energy": "E_dft"})[0]


@each_format
def test_deleted_rows_are_left_out(tmp_path: Path, suffix: str):
    path = write(tmp_path / f"all{suffix}", ALLOYS)
    database = connect(path)
    database.delete([1, 3, 4])
    if suffix == ".aselmdb":
        database.close()
    assert energies(path) == [ALLOYS[k].get_potential_energy() for k in (1, 4, 5)]


@each_format
def test_parts_are_slices_and_for_sqlite_selections(tmp_path: Path, suffix: str):
    path = write(tmp_path / f"all{suffix}", FRAMES)
    expected = [atoms.get_potential_energy() for atoms in FRAMES]
    assert energies(f"{path}::1:3") == expected[1:3]
    assert energies(f"{path}::-2:") == expected[-2:]
    assert energies(f"{path}::::2") == expected[::2]
    halves = AseDb(train=f"{path}::0:3", val=f"{path}::3:", labels=["energy"]).read()
    assert [float(halves["val"][0].energy), float(halves["train"][0].energy)] == [
        expected[3],
        expected[0],
    ]
    if suffix == ".db":
        assert energies(f"{path}::natoms<5") == expected[::2]
        assert energies(f"{path}::group=run1") == expected[2:4]


def test_a_folder_of_shards_is_read_in_the_order_of_names(tmp_path: Path):
    folder = tmp_path / "shards"
    folder.mkdir()
    write(folder / "b.aselmdb", ALLOYS[2:4])
    write(folder / "c.db", ALLOYS[4:])
    write(folder / "a.aselmdb", ALLOYS[:2])
    (folder / "notes.txt").write_text("two of LMDB, one of SQLite")
    expected = [atoms.get_potential_energy() for atoms in ALLOYS]
    assert energies(folder) == expected
    assert energies(f"{folder}::1:5") == expected[1:5]
    assert energies(folder / "*.aselmdb") == expected[:4]


@each_format
@pytest.mark.filterwarnings("ignore:This DataLoader will create 2 worker")  # on one core
@pytest.mark.parametrize("context", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_read_at_random(tmp_path: Path, suffix: str, context: str):
    path = write(tmp_path / f"all{suffix}", ALLOYS)
    data = AseDb(train=str(path), batch_size=2, num_workers=2)
    data.set_cutoff(4.0)
    linked = data.graphs("train")
    assert linked[0].n_edges > 0  # opened here, before the workers start
    loader = torch.utils.data.DataLoader(
        linked, num_workers=2, multiprocessing_context=context, collate_fn=list, batch_size=2
    )
    found = [float(graph.energy) for batch in loader for graph in batch]
    assert found == [atoms.get_potential_energy() for atoms in ALLOYS]
    drawn = [float(e) for batch in data.train_dataloader() for e in batch.energy]
    assert sorted(drawn) == sorted(found)
    assert float(linked[0].energy) == found[0]  # and here still


@each_format
def test_frames_are_pickled_without_their_handles(tmp_path: Path, suffix: str):
    path = write(tmp_path / f"all{suffix}", ALLOYS)
    frames = SqliteFrames(path) if suffix == ".db" else LmdbFrames(path)
    assert len(frames[2].numbers) == 4
    blob = pickle.dumps(frames)
    assert len(blob) < 2000
    np.testing.assert_array_equal(pickle.loads(blob)[5].positions, ALLOYS[5].positions)


def test_few_files_are_open_at_once(tmp_path: Path):
    paths = [write(tmp_path / f"{k}.aselmdb", ALLOYS[k : k + 1]) for k in range(3)]
    handles = Handles(2)
    first = [handles.get(str(path)) for path in paths]
    with pytest.raises(Exception, match="closed"):
        first[0].stat()
    assert first[2].stat()["entries"] >= 2
    assert handles.get(str(paths[0])).stat()["entries"] >= 2
    handles.close()


# Units


def test_units_that_the_file_declares_are_used(tmp_path: Path):
    plain = energies(write(tmp_path / "plain.aselmdb", ALLOYS))
    path = write(tmp_path / "kcal.aselmdb", ALLOYS, KCAL)
    np.testing.assert_allclose(energies(path), np.array(plain) * 0.0433641153)
    np.testing.assert_allclose(energies(path, units=KCAL), energies(path))
    forces = graphs(path, labels=["forces"])[0].forces
    np.testing.assert_allclose(forces, ALLOYS[0].get_forces() * 0.0433641153)


@pytest.mark.parametrize("suffix", [".aselmdb", ".db"])
def test_units_that_conflict(tmp_path: Path, suffix: str):
    kcal = write(tmp_path / f"kcal{suffix}", ALLOYS, KCAL)
    ev = write(tmp_path / f"ev{suffix}", ALLOYS, {"energy": "eV", "forces": "eV/Angstrom"})
    plain = write(tmp_path / f"plain{suffix}", ALLOYS)
    for other in (ev, plain):
        with pytest.raises(
            InputError, match=rf"kcal{suffix} and .*{other.name} have different units of energy"
        ):
            AseDb(train=str(kcal), val=str(other)).read()
    message = rf"units.energy: the recipe says 'Hartree', but .*kcal{suffix} declares 'kcal/mol'"
    with pytest.raises(InputError, match=message):
        graphs(kcal, units={"energy": "Hartree"})
    assert set(AseDb(train=str(ev), val=str(plain)).read()) == {"train", "val"}


@pytest.mark.parametrize(
    ("units", "message"),
    [({"energy": "kcal"}, "bad.db: units.energy: unknown unit 'kcal'"), ("eV", "no mapping")],
)
def test_units_that_are_no_units(tmp_path: Path, units: object, message: str):
    with pytest.raises(InputError, match=message):
        graphs(write(tmp_path / "bad.db", ALLOYS, units))


# Bad input


@pytest.mark.parametrize("kept", [-1, 5000, 100, 0])
def test_a_truncated_lmdb_is_refused(tmp_path: Path, kept: int):
    path = write(tmp_path / "cut.aselmdb", ALLOYS)
    blob = path.read_bytes()
    path.write_bytes(blob[: len(blob) - 4096] if kept < 0 else blob[:kept])
    with pytest.raises(InputError, match=r"cut.aselmdb(: | is cut off: it has)"):
        graphs(path)


def test_a_truncated_sqlite_file_is_refused(tmp_path: Path):
    path = write(tmp_path / "cut.db", ALLOYS)
    path.write_bytes(path.read_bytes()[:6000])
    with pytest.raises(InputError, match=r"cannot read .*cut.db as an ASE database: .*malformed"):
        list(graphs(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"no database " * 1000, "file is not a database"), (b"", "no such table: systems")],
)
def test_a_db_that_is_none_is_refused_and_left_alone(tmp_path: Path, content: bytes, message: str):
    path = tmp_path / "no.db"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"cannot read .*no.db as an ASE database: {message}"):
        graphs(path)
    assert path.read_bytes() == content


def test_an_lmdb_of_something_else_is_refused(tmp_path: Path):
    path = tmp_path / "other.aselmdb"
    with writing(path) as transaction:
        transaction.put(b"0", b"pickle")
    with pytest.raises(InputError, match=r"other.aselmdb holds no rows of an ASE database"):
        graphs(path)
    with writing(path) as transaction:
        transaction.put(b"nextid", b"pickle")
    with pytest.raises(InputError, match=r"other.aselmdb, nextid: damaged, or no row"):
        graphs(path)


def test_a_damaged_row_is_named(tmp_path: Path):
    path = write(tmp_path / "bad.aselmdb", ALLOYS)
    with writing(path) as transaction:
        transaction.put(b"2", b"nothing")
        transaction.delete(b"3")
    found = graphs(path)
    with pytest.raises(InputError, match=r"bad.aselmdb, row 2: damaged"):
        found[1]
    with pytest.raises(InputError, match=r"bad.aselmdb, row 3 is missing"):
        found[2]


@pytest.mark.parametrize("missing", ["lmdb", "orjson"])
def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str):
    path = write(tmp_path / "all.aselmdb", ALLOYS)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(InputError, match=rf"ase-db-backends .*\({missing} .*pip install"):
        graphs(path)
    assert len(graphs(write(tmp_path / "all.db", ALLOYS))) == 6


def test_a_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(path: str, **_: Any) -> None:
        raise lmdb.Error(f"{path}: Permission denied")  # what it raises; root may read everything

    path = write(tmp_path / "closed.aselmdb", ALLOYS)
    monkeypatch.setattr(lmdb, "open", refuse)
    with pytest.raises(InputError, match=r"cannot read .*closed.aselmdb: .*Permission denied"):
        graphs(path)


def test_a_locked_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sqlite, "_PATIENCE", 0.01)
    path = write(tmp_path / "locked.db", ALLOYS)
    other = sqlite3.connect(path)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(InputError, match=r"locked.db as an ASE database: database is locked"):
        graphs(path)
    other.close()


def test_a_file_that_is_open_for_writing_in_this_process(tmp_path: Path):
    path = write(tmp_path / "busy.aselmdb", ALLOYS)
    HANDLES.close()
    database = connect(path)
    with pytest.raises(InputError, match=r"busy.aselmdb.* already open in this process"):
        graphs(path)
    database.close()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("a.xyz", r"a.xyz: '.xyz' is no extension of an ASE database; .*\.aselmdb, \.db"),
        ("empty", r"no .db or .aselmdb file in the folder .*empty; it has: nothing"),
        ("outer", r"no .db or .aselmdb file in the folder .*outer; it has: inner"),
        ("a.db::9:", r"a.db holds no frames in 9:: it has 6"),
        ("a.db::::0", "a slice cannot have steps of 0"),
        ("a.db::natoms>99", "a.db holds no rows with natoms>99"),
        ("a.db::energy<low", "a.db::energy<low: ASE cannot select that"),
        ("a.aselmdb::natoms<9", "::natoms<9: only of .db files can frames be selected"),
    ],
)
def test_bad_paths_and_parts(tmp_path: Path, given: str, message: str):
    (tmp_path / "a.xyz").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "outer" / "inner").mkdir(parents=True)
    write(tmp_path / "a.db", ALLOYS)
    write(tmp_path / "a.aselmdb", ALLOYS)
    with pytest.raises(InputError, match=message):
        graphs(tmp_path / given)
