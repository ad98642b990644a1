"""QM9 from small archives and packed files, against the numbers that stand in them."""

from __future__ import annotations

import bz2
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hermnet.data import qm9
from hermnet.datamodules.qm9 import QM9
from hermnet.errors import InputError
from hermnet.recipes.config import resolve
from hermnet.run import commands as runs
from hermnet.run.datasets import check_data
from qm9_files import LIST, METHANE, molecule, write_archive

HARTREE = 27.211386246  # eV, CODATA 2018
ANY = {"checksum": None}
FEW: dict[str, Any] = {**ANY, "n_train": 5, "n_val": 2}
# Methane as its file says it, energies in eV.
EXPECTED = {
    "mu": 0.0,
    "alpha": 13.21,
    "homo": -10.54986,
    "lumo": 3.18645,
    "gap": 13.73631,
    "r2": 35.3641,
    "zpve": 1.21768,
    "u0": -1101.48780,
    "u298": -1101.40976,
    "h298": -1101.38405,
    "g298": -1102.02296,
    "cv": 6.469,
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_archive(tmp_path, range(1, 13))  # twelve, of which two are left out
    return tmp_path


def gaps(graphs: Any) -> list[int]:
    """Indices of molecules, from their gaps."""
    return [round(float(graph.scalars[0, 0]) / HARTREE * 1000) for graph in graphs]


def test_methane_is_read_in_ev(tmp_path: Path):
    write_archive(tmp_path, (), {"dsgdb9nsd_000001.xyz": METHANE})
    data = QM9(root=str(tmp_path), **ANY, n_train=1, n_val=0)
    (graph,) = data.read()["train"]
    assert data.scalar_names == tuple(EXPECTED)
    assert data.scalar_units == (
        *("D", "a0^3", "eV", "eV", "eV", "a0^2"),
        *("eV", "eV", "eV", "eV", "eV", "cal/(mol K)"),
    )
    assert graph.scalars[0].tolist() == pytest.approx(list(EXPECTED.values()), abs=2e-5, rel=1e-8)
    assert graph.atomic_numbers.tolist() == [6, 1, 1, 1, 1]
    np.testing.assert_array_equal(
        graph.positions,
        [
            [-0.0126981359, 1.0858041578, 0.0080009958],
            [0.002150416, -0.0060313176, 0.0019761204],
            [1.0117308433, 1.4637511618, 0.0002765748],
            [-0.540815069, 1.4475266138, -0.8766437152],
            [-0.5238136345, 1.4379326443, 0.9063972942],
        ],
    )
    assert not graph.pbc.any()
    assert graph.energy is None


def test_energies_of_atomization(tmp_path: Path):
    write_archive(tmp_path, (), {"dsgdb9nsd_000001.xyz": METHANE})
    # methane minus a carbon and four hydrogens, in kcal/mol, as QM9's tables have it
    kcal = {"u0": -395.999595, "u298": -398.64329, "h298": -401.014647, "g298": -372.471772}
    options = {"targets": [*kcal, "cv", "zpve"], "atomization": True, "n_train": 1, "n_val": 0}
    (graph,) = QM9(root=str(tmp_path), **ANY, **options).read()["train"]
    *energies, cv, zpve = graph.scalars[0].tolist()
    assert energies == pytest.approx([0.0433641043 * value for value in kcal.values()], rel=1e-6)
    assert (cv, zpve) == pytest.approx((6.469 - 5 * 2.981, 1.21768), abs=1e-5)
    path = packed(tmp_path / "sulfur.npz", numbers=np.full(30, 16))
    with pytest.raises(InputError, match=r"sulfur.npz: QM9 has no isolated S, so no u0 of it"):
        QM9(root=str(path), atomization=True).read()


def test_uncharacterized_molecules_are_left_out(root: Path):
    data = QM9(root=str(root / qm9.ARCHIVE), targets=["gap"], **FEW)
    splits = data.read()
    assert {name: len(graphs) for name, graphs in splits.items()} == {
        "train": 5,
        "val": 2,
        "test": 3,
    }
    assert sorted(index for graphs in splits.values() for index in gaps(graphs)) == [
        index for index in range(1, 13) if index not in (3, 5)
    ]
    assert not any(graphs.in_memory for graphs in splits.values())
    (root / "mine.txt").write_text("7\n8\n", encoding="utf-8")
    other = QM9(root=str(root), exclude=str(root / "mine.txt"), targets=["gap"], **FEW).read()
    assert {3, 5} < {index for graphs in other.values() for index in gaps(graphs)}
    assert other["train"].fingerprint() != splits["train"].fingerprint()


def test_the_seed_fixes_the_split(root: Path):
    def split(**changed: Any) -> dict[str, list[int]]:
        data = QM9(root=str(root), **{**FEW, **changed})
        data.read()
        found = data.split_indices()
        assert found is not None
        return found

    assert split() == split()
    assert split() != split(seed=1)
    assert split(n_test=3)["test"] == split(n_test=3, n_train=2, n_val=1)["test"]
    data = QM9(root=str(root), targets=["gap"], **FEW)
    data.use_split_indices({"train": [0, 1], "val": [2], "test": [9]})
    assert {name: gaps(graphs) for name, graphs in data.read().items()} == {
        "train": [1, 2],
        "val": [4],
        "test": [12],
    }
    data.use_split_indices({"train": [0, 10]})
    with pytest.raises(InputError, match=r"splits name frame 10, but .*tar.bz2 holds 10"):
        data.read()


def test_the_archive_is_unpacked_once(root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HERMNET_CACHE", str(root / "cache"))
    first = QM9(root=str(root), targets=["gap"], **FEW).read()["train"]
    (copy,) = (root / "cache" / "qm9").iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(qm9, "_members", lambda path: pytest.fail("unpacked again"))
        again = QM9(root=str(root), targets=["gap"], **FEW).read()["train"]
    assert gaps(again) == gaps(first)
    copy.write_bytes(copy.read_bytes()[:-100])
    assert gaps(QM9(root=str(root), targets=["gap"], **FEW).read()["train"]) == gaps(first)
    write_archive(root, range(1, 12))  # another archive gets a copy of its own
    QM9(root=str(root), **FEW).read()
    assert len(list((root / "cache" / "qm9").iterdir())) == 2
    monkeypatch.setenv("HERMNET_CACHE", str(root / "uncharacterized.txt"))  # no folder
    assert len(QM9(root=str(root), **FEW).read()["train"]) == 5


def test_a_check_of_the_data_needs_no_energies(root: Path, capsys: pytest.CaptureFixture[str]):
    few = [f"data.root={root}", "data.checksum=null", "data.n_train=6", "data.n_val=2"]
    assert check_data(resolve("qm9", few), output=str(root / "check.png")).is_file()
    assert "no problem found" in capsys.readouterr().out


def test_the_checksum(root: Path):
    path = root / qm9.ARCHIVE
    found = hashlib.md5(path.read_bytes()).hexdigest()
    assert len(QM9(root=str(root), checksum=found.upper(), n_train=5, n_val=2).read()["test"]) == 3
    for given in ({}, {"checksum": "0" * 32}):
        (root / "uncharacterized.txt").write_text("\n".join(map(str, range(9000, 12054))))
        with pytest.raises(InputError, match=rf"MD5 is {found}, not .*: download it again, or say"):
            QM9(root=str(root), n_train=5, n_val=2, **given).read()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"targets": ["gpa"]}, "targets: unknown 'gpa'; did you mean 'gap'"),
        ({"targets": ["U0"]}, "targets: unknown 'U0'; did you mean 'u0'"),
        ({"targets": ["A"]}, "targets: unknown 'A'"),
        ({"targets": ["mu", "mu"]}, "targets: name each once"),
        ({"targets": []}, "targets: name each once, and at least one"),
        ({"n_train": 0}, "n_train must be at least 1"),
        ({"n_val": -1}, "n_val must be at least 0"),
    ],
)
def test_options_that_cannot_be_meant(options: dict[str, Any], message: str, root: Path):
    with pytest.raises(InputError, match=message):
        QM9(root=str(root), **options)


def test_more_molecules_than_there_are(root: Path):
    with pytest.raises(InputError, match=r"val 10000, train 110000 .*there are.* 10 frames"):
        QM9(root=str(root), **ANY).read()


def test_a_list_that_cannot_be_used(root: Path):
    path = root / "uncharacterized.txt"
    path.write_text("Index\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"uncharacterized.txt names no molecule"):
        QM9(root=str(root), **FEW).read()
    path.write_text(LIST, encoding="utf-8")
    with pytest.raises(InputError, match=r"names 2 molecules; .* has 3054"):
        QM9(root=str(root)).read()
    path.unlink()
    with pytest.raises(InputError, match=r"cannot read .*uncharacterized.txt, the list .*exclude"):
        QM9(root=str(root), **FEW).read()
    with pytest.raises(InputError, match=r"root: there is no file .*nowhere.*figshare"):
        QM9(root=str(root / "nowhere")).read()


@pytest.mark.parametrize("kept", [0.3, 0.7, 0.95])
def test_a_truncated_archive(root: Path, kept: float):
    path = root / qm9.ARCHIVE
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(InputError, match=r"cannot read .* as tar.bz2: Compressed file ended"):
        QM9(root=str(root), **FEW).read()


def test_an_archive_of_something_else(root: Path):
    path = root / qm9.ARCHIVE
    for content in (b"no archive", bz2.compress(b"no archive"), b""):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"cannot read .* as tar.bz2"):
            QM9(root=str(root), **FEW).read()
    write_archive(root, (), {"readme.txt": "nothing"})
    with pytest.raises(InputError, match=r"holds no .xyz files"):
        QM9(root=str(root), **FEW).read()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("gdb 1", "qm9 1"),
        ("\t6.469", ""),
        ("13.21", "alpha"),
        ("5\n", "6\n"),
        ("H\t-0.540815069\t", "H\t"),
        ("C\t-0.01", "Xx\t-0.01"),
        (METHANE, ""),
    ],
)
def test_a_file_that_is_no_molecule(old: str, new: str, root: Path):
    write_archive(
        root, (), {"a.xyz": METHANE, "dsgdb9nsd_000002.xyz": METHANE.replace(old, new, 1)}
    )
    with pytest.raises(InputError, match=r"dsgdb9nsd_000002.xyz is no molecule of QM9"):
        QM9(root=str(root), **FEW).read()


def packed(path: Path, **changed: Any) -> Path:
    """Six molecules as the archive has them, with splits."""
    parsed = [qm9.parse_molecule(molecule(index)) for index in range(1, 7)]
    columns = dict(zip(qm9.PROPERTIES, np.array([found[3] for found in parsed]).T, strict=True))
    arrays = {
        "n_atoms": np.full(6, 5),
        "numbers": np.concatenate([found[0] for found in parsed]),
        "positions": np.concatenate([found[1] for found in parsed]),
        "split": np.array(["train", "val", "train", "test", "train", "train"]),
        "meta": json.dumps({"units": qm9.PROPERTIES}),
        **columns,
        **changed,
    }
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def test_a_packed_file_has_splits_of_its_own(tmp_path: Path):
    path = packed(tmp_path / "subset.npz")
    data = QM9(root=str(path), targets=["gap", "mu"])
    splits = data.read()
    assert {name: gaps(graphs) for name, graphs in splits.items()} == {
        "train": [1, 3, 5, 6],
        "val": [2],
        "test": [4],
    }
    few = QM9(root=str(path), targets=["gap"], n_train=2, n_val=0, n_test=1)
    found = few.read()
    assert set(gaps(found["train"])) < {1, 3, 5, 6}
    assert [len(found[name]) for name in ("train", "val", "test")] == [2, 0, 1]
    with pytest.raises(InputError, match=r"n_val = 2 is more than the 1 of .*subset.npz"):
        QM9(root=str(path), n_val=2).read()
    without = packed(tmp_path / "whole.npz", split=None)
    parts = QM9(root=str(without), n_train=3, n_val=1, targets=["gap"]).read()
    assert [len(parts[name]) for name in ("train", "val", "test")] == [3, 1, 2]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"cv": None}, r"bad.npz has no 'cv'; it has .*alpha"),
        ({"meta": json.dumps({"units": {"mu": "e A"}})}, "mu is in 'e A', not in 'D'"),
        ({"meta": json.dumps({"units": {"gap": "hartree"}})}, "unknown unit 'hartree'.*Hartree"),
        ({"meta": "QM9"}, "meta is no JSON with units by name"),
        ({"meta": "{}"}, "meta is no JSON with units by name"),
        ({"u0": np.array([1, 2, np.nan, 4, 5, 6])}, "bad.npz, frame 2: no scalar u0 'u0'"),
        ({"numbers": None}, "bad.npz has no 'numbers'; it has"),
        ({"gdb": None, "positions": None}, "bad.npz lacks positions"),
        ({"positions": np.zeros((3, 3))}, "positions has 3 rows, the frames have 30 atoms"),
    ],
)
def test_packed_files_that_cannot_be_used(changed: dict[str, Any], message: str, tmp_path: Path):
    path = packed(tmp_path / "bad.npz", **changed)
    with pytest.raises(InputError, match=message):
        QM9(root=str(path)).read()


@pytest.mark.filterwarnings("ignore:relations with few training edges")
def test_a_fit_from_the_archive_to_the_table(root: Path, capsys: pytest.CaptureFixture[str]):
    recipe = resolve(
        "qm9_u0",
        [
            *(f"data.root={root}", "data.checksum=null", "data.n_train=6", "data.n_val=2"),
            *("model.n_channels=4", "model.n_layers=1", "trainer.max_epochs=1"),
            *("trainer.accelerator=cpu", "trainer.logger=false"),
            f"trainer.default_root_dir={root / 'run'}",
        ],
    )
    run = runs.fit(recipe)
    assert set(run.results["test"].errors) == {"u0_mae", "u0_rmse"}
    assert "eV" in capsys.readouterr().out
    stored = json.loads((run.folder.path / "splits.json").read_text())
    assert {name: len(part) for name, part in stored.items()} == {"train": 6, "val": 2, "test": 2}
    labels, _ = run.results["test"].pairs["u0"]
    known = {-(40.47893 + index / 1000) * HARTREE for index in range(1, 13)}
    assert all(min(abs(label - value) for value in known) < 1e-4 for label in labels)
    assert runs.test(recipe)["test"].errors == pytest.approx(run.results["test"].errors)
