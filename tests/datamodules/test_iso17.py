"""ISO17 in its published layout, written here with ASE."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import molecule
from ase.db import connect

from hermnet.datamodule import DATAMODULES
from hermnet.datamodules.iso17 import ISO17
from hermnet.errors import InputError

FILES = {"reference": 10, "test_within": 4, "test_other": 3, "test_eq": 2, "reference_eq": 1}


def forces(name: str, index: int) -> np.ndarray:
    return np.random.default_rng([len(name), index]).normal(size=(9, 3))


def write(path: Path, n_rows: int) -> None:
    with connect(path) as database:
        for index in range(n_rows):
            atoms = molecule("CH3CH2OH")
            atoms.rattle(0.05, seed=index)
            data = {"atomic_forces": forces(path.stem, index)}
            database.write(atoms, total_energy=-100.0 - index, data=data)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, n_rows in FILES.items():
        write(tmp_path / f"{name}.db", n_rows)
    (tmp_path / "train_ids.txt").write_text("".join(f"{k}\n" for k in (10, 1, 3, 5, 7, 9)))
    (tmp_path / "validation_ids.txt").write_text("2\n4\n")
    return tmp_path


def energies(graphs: Any) -> list[float]:
    return [float(graph.energy) for graph in graphs]


def test_the_published_splits(root: Path):
    splits = ISO17(root=str(root)).read()
    assert energies(splits["train"]) == [-100.0, -102.0, -104.0, -106.0, -108.0, -109.0]
    assert energies(splits["val"]) == [-101.0, -103.0]
    assert {name: len(graphs) for name, graphs in splits.items() if "test" in name} == {
        "test_within": 4,
        "test_other": 3,
    }
    for index, graph in enumerate(splits["test_within"]):
        atoms = molecule("CH3CH2OH")
        atoms.rattle(0.05, seed=index)
        np.testing.assert_array_equal(graph.positions, atoms.positions)
        np.testing.assert_array_equal(graph.atomic_numbers, atoms.numbers)
        np.testing.assert_allclose(graph.forces, forces("test_within", index), atol=1e-12)
        assert not graph.pbc.any()
        assert not splits["test_within"].in_memory


def test_fewer_frames(root: Path):
    options = {"n_train": 2, "n_val": 1, "n_test": 1, "test": ["test_eq"]}
    splits = ISO17(root=str(root), **options).read()
    assert {name: len(graphs) for name, graphs in splits.items()} == {
        "train": 2,
        "val": 1,
        "test_eq": 1,
    }
    seeds = [energies(ISO17(root=str(root), seed=s, **options).read()["train"]) for s in range(6)]
    assert len({tuple(found) for found in seeds}) > 1
    assert energies(ISO17(root=str(root), **options).read()["train"]) == seeds[0]


def test_the_folder_of_the_archive_and_workers(root: Path, tmp_path_factory: Any):
    outer = tmp_path_factory.mktemp("outer")
    root.rename(outer / "iso17")
    data = DATAMODULES.get("iso17")(root=str(outer), batch_size=3, num_workers=1)
    data.set_cutoff(2.0)
    data.setup("fit")
    assert sum(batch.n_systems for batch in data.train_dataloader()) == 6
    assert data.test_splits() == ("test_within", "test_other")


def test_the_files_tell_whether_facts_are_still_true(root: Path):
    def known(**options: int) -> dict[str, str | None]:
        splits = ISO17(root=str(root), **options).read()
        return {name: graphs.fingerprint() for name, graphs in splits.items()}

    before = known()
    assert None not in before.values()
    assert known() == before
    fewer = known(n_train=2)
    assert [name for name in before if fewer[name] != before[name]] == ["train"]
    write(root / "test_other.db", 1)
    assert [name for name in before if known()[name] != before[name]] == ["test_other"]


def test_nothing_is_written(root: Path):
    before = {path: path.stat().st_mtime_ns for path in root.iterdir()}
    energies(ISO17(root=str(root)).read()["train"])
    assert {path: path.stat().st_mtime_ns for path in root.iterdir()} == before


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda r: (r / "reference.db").unlink(), r"no reference.db in .*there: reference_eq.db"),
        (
            lambda r: (r / "test_other.db").write_bytes(b""),
            r"cannot read .*test_other.db as an ASE database",
        ),
        (
            lambda r: (r / "reference.db").write_bytes(pickle.dumps(FILES)),
            r"cannot read .*reference.db as an ASE database",
        ),
        (
            lambda r: (r / "test_other.db").unlink(),
            r"cannot read .*test_other.db as .*No such file",
        ),
        (
            lambda r: (r / "test_other.db").write_bytes((r / "test_eq.db").read_bytes()[:100]),
            r"cannot read .*test_other.db as .*malformed",
        ),
        (lambda r: (r / "train_ids.txt").write_text("a\n"), "train_ids.txt as one row id per line"),
        (lambda r: (r / "train_ids.txt").unlink(), "cannot read .*train_ids.txt"),
        (
            lambda r: (r / "validation_ids.txt").write_text("11\n"),
            "row 11 is missing",
        ),
    ],
)
def test_damaged_folders(root: Path, spoil: Callable[[Path], object], message: str):
    spoil(root)
    with pytest.raises(InputError, match=message):
        [graph for graphs in ISO17(root=str(root)).read().values() for graph in graphs]


def test_rows_without_labels(root: Path):
    with connect(root / "test_eq.db") as database:
        database.write(molecule("H2O"), total_energy=1.0)
    splits = ISO17(root=str(root), test=["test_eq"]).read()
    with pytest.raises(InputError, match=r"row 3: no forces 'atomic_forces'; .*total_energy"):
        splits["test_eq"][2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_train": 7}, r"n_train = 7 is more than the 6 of .*train_ids.txt"),
        ({"n_test": 4}, r"n_test = 4 is more than the 3 of .*test_other.db"),
        ({"n_train": 0}, "n_train must be at least 1"),
        ({"test": ["within"]}, "unknown test set 'within'; did you mean 'test_within'"),
        ({"root": "/no/where"}, "there is no folder /no/where"),
    ],
)
def test_options_that_do_not_fit(root: Path, options: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        ISO17(**{"root": str(root), **options}).read()


def test_the_name_in_recipes():
    assert DATAMODULES.get("iso17") is ISO17
