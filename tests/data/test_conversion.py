"""What `convert` writes, as ASE reads it, and that it is there completely or not at all."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.db import connect

import tiny
from hermnet.data.conversion import convert
from hermnet.datamodules.ase_db import AseDb
from hermnet.datamodules.extxyz import ExtXYZ
from hermnet.errors import InputError, InputErrors

LABELS = ["energy", "forces", "stress"]
FRAMES = [tiny.alloy(seed) for seed in range(12)]


@pytest.fixture
def data(tmp_path: Path) -> ExtXYZ:
    tiny.write(tmp_path / "train.xyz", FRAMES[:11])
    tiny.write(tmp_path / "val.xyz", FRAMES[11:])
    train, val = (str(tmp_path / f"{split}.xyz") for split in ("train", "val"))
    return ExtXYZ(train=train, val=val, labels=LABELS)


def rows(path: Path) -> list[Atoms]:
    database = connect(path)
    found = [row.toatoms() for row in database.select()]
    database.close()
    return found


def metadata(path: Path) -> dict[str, Any]:
    database = connect(path)
    found = dict(database.metadata)
    database.close()
    return found


def names(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def check(found: Sequence[Atoms], expected: Sequence[Atoms]) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.numbers, other.numbers)
        np.testing.assert_allclose(one.positions, other.positions, atol=1e-7)
        np.testing.assert_allclose(one.cell, other.cell, atol=1e-7)
        assert one.pbc.tolist() == other.pbc.tolist()
        assert one.get_potential_energy() == pytest.approx(other.get_potential_energy())
        np.testing.assert_allclose(one.get_forces(), other.get_forces(), atol=1e-7)
        np.testing.assert_allclose(one.get_stress(), other.get_stress(), atol=1e-7)


@pytest.mark.parametrize("n_workers", [1, 2])
def test_ase_reads_the_shards(tmp_path: Path, data: ExtXYZ, n_workers: int):
    out = tmp_path / "out"
    assert convert(data, out, n_workers=n_workers, shard_size=4) == {"train": 11, "val": 1}
    assert names(out) == [
        "train/00000.aselmdb",
        "train/00001.aselmdb",
        "train/00002.aselmdb",
        "val/00000.aselmdb",
    ]
    found = [atoms for k in range(3) for atoms in rows(out / f"train/0000{k}.aselmdb")]
    check(found, FRAMES[:11])
    assert metadata(out / "val/00000.aselmdb") == {
        "format": "hermnet",
        "format_version": 1,
        "units": {
            "length": "A",
            "energy": "eV",
            "forces": "eV/A",
            "stress": "eV/A^3",
            "dipole": "e A",
        },
        "labels": LABELS,
        "scalars": {},
        "split": "val",
        "source": [str(tmp_path / "val.xyz")],
    }
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "train.xyz", "val.xyz"]


def test_graphs_come_back_exactly(tmp_path: Path, data: ExtXYZ):
    convert(data, tmp_path / "out", shard_size=11)
    found = AseDb(train=str(tmp_path / "out/train"), labels=LABELS).read()["train"]
    for one, other in zip(found, data.read()["train"], strict=True):
        for key, value in vars(other).items():
            np.testing.assert_array_equal(vars(one)[key], value)


def test_scalars_and_dipoles_come_back(tmp_path: Path):
    frames = [tiny.methanol(seed) for seed in range(3)]
    for index, atoms in enumerate(frames):
        atoms.info |= {"gap": 0.1 * index, "moment": [1.0, 0.0, index]}
        if index != 1:
            atoms.info["mu"] = 1.5
    path = str(tiny.write(tmp_path / "a.xyz", frames))
    options = {"labels": ["dipole"], "missing": "mask", "keys": {"dipole": "moment"}}
    scalars = {"gap": "Hartree", "mu": "D"}
    data = ExtXYZ(train=path, scalars=scalars, units={"dipole": "D"}, **options)
    convert(data, tmp_path / "out.aselmdb")
    moment = rows(tmp_path / "out.aselmdb")[2].get_dipole_moment()
    np.testing.assert_allclose(moment, [0.20819434, 0.0, 0.41638868], rtol=1e-7)
    assert metadata(tmp_path / "out.aselmdb")["scalars"] == {"gap": "eV", "mu": "D"}
    options = {"train": str(tmp_path / "out.aselmdb"), "labels": ["dipole"], "missing": "mask"}
    again = AseDb(scalars={"gap": "eV", "mu": "D"}, **options)
    for one, other in zip(again.read()["train"], data.read()["train"], strict=True):
        np.testing.assert_array_equal(one.scalars, other.scalars)
        np.testing.assert_array_equal(one.dipole, other.dipole)
    message = "scalars.gap: .*out.aselmdb declares 'eV', the recipe another unit"
    with pytest.raises(InputError, match=message):
        AseDb(scalars=scalars, **options).read()


def test_other_units_become_ours_and_masked_labels_are_left_out(tmp_path: Path):
    frames = [tiny.methanol(0), tiny.methanol(1, forces=False)]
    path = str(tiny.write(tmp_path / "a.xyz", frames))
    data = ExtXYZ(train=path, units={"energy": "kcal/mol"}, missing="mask")
    convert(data, tmp_path / "a.aselmdb")
    one, other = rows(tmp_path / "a.aselmdb")
    energy = frames[0].get_potential_energy() * 0.0433641153
    assert one.get_potential_energy() == pytest.approx(energy)
    assert "forces" in one.calc.results
    assert "forces" not in other.calc.results
    with pytest.raises(InputError, match=r"the recipe says 'kcal/mol', but .*declares 'eV'"):
        AseDb(train=str(tmp_path / "a.aselmdb"), units={"energy": "kcal/mol"}).read()


def test_splits_that_are_asked_for(tmp_path: Path, data: ExtXYZ):
    assert convert(data, tmp_path / "v.aselmdb", ["val"]) == {"val": 1}
    check(rows(tmp_path / "v.aselmdb"), FRAMES[11:])
    assert convert(data, tmp_path / "out", ["val"]) == {"val": 1}
    assert names(tmp_path / "out") == ["val/00000.aselmdb"]
    with pytest.raises(InputError, match=r"the data have no 'tset' frames; .*\(known: train, val"):
        convert(data, tmp_path / "new", ["tset"])
    with pytest.raises(InputError, match=r"one.aselmdb can hold one split, not train, val"):
        convert(data, tmp_path / "one.aselmdb")
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / "one.aselmdb").exists()


def test_what_is_there_is_replaced_only_on_request(tmp_path: Path, data: ExtXYZ):
    out, file = tmp_path / "out", tmp_path / "a.aselmdb"
    for output in (out, file):
        convert(data, output, ["val"])
        with pytest.raises(InputError, match=r"is there already; .*overwrite"):
            convert(data, output, ["train"])
        convert(data, output, ["train"], overwrite=True)
    assert names(out) == ["train/00000.aselmdb"]
    check(rows(file), FRAMES[:11])
    (out / "thesis.tex").touch()
    for other in (out, tmp_path / "train.xyz"):
        with pytest.raises(InputError, match="holds other files too and is not replaced"):
            convert(data, other, ["val"], overwrite=True)


@pytest.mark.parametrize("n_workers", [1, 2])
def test_a_bad_frame_leaves_nothing_behind(tmp_path: Path, n_workers: int):
    frames = [tiny.alloy(seed) for seed in range(4)]
    frames[3].calc.atoms.positions[0, 1] = frames[3].positions[0, 1] = np.inf
    with connect(tmp_path / "a.db") as database:
        for atoms in frames:
            database.write(atoms)
    data = AseDb(train=str(tmp_path / "a.db"))
    with pytest.raises(InputError, match="train frame 3: positions with NaN or infinity"):
        convert(data, tmp_path / "out", n_workers=n_workers, shard_size=2)
    assert [p.name for p in tmp_path.iterdir()] == ["a.db"]


def test_problems_are_lines_and_stay_lines_on_the_way_from_a_worker():
    problems = InputErrors(["no energy", "no forces"])
    assert str(pickle.loads(pickle.dumps(problems))) == "no energy\nno forces"


def test_weights_are_refused(tmp_path: Path, data: ExtXYZ):
    path = str(tmp_path / "train.xyz")
    weighted = ExtXYZ(train=[{"path": path, "weight": 2.0}])
    with pytest.raises(InputError, match=r"the train frames have weights, which .aselmdb"):
        convert(weighted, tmp_path / "out")


@pytest.mark.parametrize("option", ["n_workers", "shard_size"])
def test_numbers_out_of_range(tmp_path: Path, data: ExtXYZ, option: str):
    with pytest.raises(InputError, match=f"{option} must be at least 1, not 0"):
        convert(data, tmp_path / "out", **{option: 0})


SLOW = """
import sys, time
from pathlib import Path
from hermnet.data import shards
from hermnet.data.conversion import convert
from hermnet.datamodules.extxyz import ExtXYZ

encode = shards.encode
def slow(row):
    time.sleep(0.2)
    return encode(row)
shards.encode = slow
convert(ExtXYZ(train=sys.argv[1]), Path(sys.argv[2]), n_workers=int(sys.argv[3]), shard_size=2)
"""


@pytest.mark.slow
@pytest.mark.parametrize("n_workers", [1, 2])
def test_a_killed_conversion_leaves_nothing_that_opens(
    tmp_path: Path, data: ExtXYZ, n_workers: int
):
    out = tmp_path / "out"
    given = [str(tmp_path / "train.xyz"), str(out), str(n_workers)]
    process = subprocess.Popen([sys.executable, "-c", SLOW, *given])
    stage = tmp_path / ".out.partial"
    while len(list(stage.rglob("*.part"))) < 2:  # the first shards are under way
        assert process.poll() is None
        time.sleep(0.02)
    with pytest.raises(InputError, match="out is being written by another process"):
        convert(data, out)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not out.exists()
    assert not list(tmp_path.rglob("*.aselmdb"))
    with pytest.raises(InputError, match=r"no file '.*out'"):
        AseDb(train=str(out)).read()
    with pytest.raises(InputError, match=r"no .db or .aselmdb file in the folder"):
        AseDb(train=str(stage / "out/train")).read()
    for _ in range(100):  # until the workers have seen that their parent is gone
        try:
            convert(data, out)
            break
        except InputError:
            time.sleep(0.1)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "train.xyz", "val.xyz"]
    check(rows(out / "train/00000.aselmdb"), FRAMES[:11])
