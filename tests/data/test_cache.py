"""Facts on disk: used when nothing has changed, and only then."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lazy
import tiny
from hermnet.data import cache
from hermnet.data.facts import Facts
from hermnet.data.graphs import GraphList
from hermnet.datamodules.extxyz import ExtXYZ
from hermnet.datamodules.packed import Packed
from hermnet.host.caches import cache_folder
from hermnet.statistics import Statistics


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own for each test."""
    monkeypatch.setenv("HERMNET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return lazy.write(tmp_path / "methanol.npz", range(6))


def gathered(path: Path, cutoff: float = 3.0, **options: Any) -> tuple[Facts, int]:
    """The facts of the training frames, and how many frames were read for them."""
    data = lazy.Lazy(train=str(path), **options)
    data.set_cutoff(cutoff)
    data.setup()
    before = len(lazy.READS)
    return data.facts("train"), len(lazy.READS) - before


def test_the_second_time_no_frame_is_read(path: Path, folder: Path):
    first, n_first = gathered(path)
    assert n_first == 6
    (stored,) = folder.iterdir()
    assert stored.suffix == ".npz"
    second, n_second = gathered(path)
    assert n_second == 0
    for name, array in first.arrays().items():
        np.testing.assert_array_equal(second.arrays()[name], array)
    assert Statistics.from_facts(second) == Statistics.from_facts(first)


def touched(path: Path) -> None:
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))


def other_energies(path: Path) -> None:
    """Another file of the same size and time."""
    stat = path.stat()
    lazy.write(path, range(6), energy=np.arange(6.0))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert path.stat().st_size == stat.st_size


def longer(path: Path) -> None:
    lazy.write(path, range(7))


@pytest.mark.parametrize("change", [touched, other_energies, longer])
def test_another_file_is_read_again(path: Path, change: Callable[[Path], None]):
    gathered(path)
    change(path)
    facts, n_read = gathered(path)
    assert n_read == facts.n_frames == (7 if change is longer else 6)
    matrix = facts.energies.totals
    energies = np.load(path)["energy"]
    assert matrix[:, -1] @ matrix[:, -1] == pytest.approx(energies @ energies)
    assert gathered(path)[1] == 0


@pytest.mark.parametrize(
    ("options", "n_read"),
    [
        ({"cutoff": 3.0000001}, 6),
        ({"keys": {"energy": "other"}}, 6),
        ({"labels": ["energy"]}, 6),
        ({"units": {"energy": "kcal/mol"}}, 6),
        ({"units": {"length": "nm"}, "cutoff": 30.0}, 6),
        ({"stress": {"positive": "compression"}}, 6),
        ({"missing": "mask"}, 6),
        ({"n_val": 1}, 5),
        ({"n_val": 1, "seed": 3}, 5),
    ],
    ids=str,
)
def test_other_options_are_another_pass(path: Path, options: dict[str, Any], n_read: int):
    gathered(path)
    assert gathered(path, **options)[1] == n_read
    assert gathered(path, **options)[1] == 0
    assert gathered(path)[1] == 0, "the first facts are still there"


def test_splits_of_a_seed_are_told_apart(path: Path):
    assert [gathered(path, n_val=2, seed=seed)[1] for seed in (0, 3, 0)] == [4, 4, 0]


def test_other_versions_are_another_pass(path: Path, monkeypatch: pytest.MonkeyPatch):
    gathered(path)
    monkeypatch.setattr("hermnet.__version__", "0.0.1")
    assert gathered(path)[1] == 6
    for changed in ("vesin", "numpy"):
        with monkeypatch.context() as patch:
            patch.setattr(cache, "version", lambda name, c=changed: f"{name} {name == c}")
            assert gathered(path)[1] == 6


@pytest.mark.parametrize("kind", ["empty", "truncated", "flipped", "foreign", "unfit"])
def test_a_damaged_file_is_ignored_and_written_anew(path: Path, folder: Path, kind: str):
    gathered(path)
    (stored,) = folder.iterdir()
    good = stored.read_bytes()
    if kind == "foreign":
        np.savez(stored, energy=np.zeros(3))
    elif kind == "unfit":
        with np.load(stored) as file:
            arrays = dict(file)
        np.savez(stored, **{**arrays, "n_atoms": np.zeros(3, dtype=np.int32)})
    else:
        middle = len(good) // 2
        flipped = good[:middle] + bytes([good[middle] ^ 255]) + good[middle + 1 :]
        stored.write_bytes({"empty": b"", "truncated": good[:middle], "flipped": flipped}[kind])
    facts, n_read = gathered(path)
    assert (n_read, facts.n_frames) == (6, 6)
    assert list(folder.iterdir()) == [stored]
    assert gathered(path)[1] == 0


def test_a_folder_that_cannot_be_written_costs_a_pass(path: Path, folder: Path):
    folder.write_text("no folder")
    assert [gathered(path)[1] for _ in range(2)] == [6, 6]


def test_a_write_that_fails_leaves_nothing(
    path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(*args: object, **arrays: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    assert gathered(path)[1] == 6
    assert list(folder.iterdir()) == []


def test_frames_that_change_under_way_are_not_kept(path: Path, folder: Path):
    data = lazy.Lazy(train=str(path))
    data.set_cutoff(3.0)
    data.setup()
    touched(path)  # after it was opened
    assert data.facts("train").n_frames == 6
    assert not folder.exists()
    assert gathered(path)[1] == 6


def test_small_sets_in_memory_are_not_kept_and_slow_ones_are(
    path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    atoms = tiny.methanol(0)
    arrays = {"numbers": atoms.numbers, "positions": atoms.positions, "n_atoms": [len(atoms)]}
    np.savez(path, energy=[atoms.get_potential_energy()], forces=atoms.get_forces(), **arrays)

    def facts() -> Facts:
        data = Packed(train=str(path))
        data.set_cutoff(3.0)
        return data.facts("train")

    facts()
    assert not folder.exists()
    monkeypatch.setattr(cache, "_LONG", 0.0)
    facts()
    assert len(list(folder.iterdir())) == 1

    def again(*args: object) -> Facts:
        raise AssertionError("they are known")

    monkeypatch.setattr(cache, "gather", again)
    assert facts().n_frames == 1


def test_text_files_are_known_by_their_content(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cache, "_LONG", 0.0)
    path = tiny.write(tmp_path / "methanol.xyz", [tiny.methanol(seed) for seed in range(3)])

    def n_stored(part: str = "") -> int:
        data = ExtXYZ(train=f"{path}{part}")
        data.set_cutoff(3.0)
        data.facts("train")
        return len(list(folder.iterdir()))

    assert [n_stored(), n_stored(), n_stored("::1:"), n_stored("::1:")] == [1, 1, 2, 2]
    tiny.write(path, [tiny.methanol(seed) for seed in range(3, 6)])
    assert n_stored() == 3


def test_frames_without_a_fingerprint_are_never_kept(
    path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(lazy.LazyFrames, "fingerprint", lambda self: None)
    assert [gathered(path)[1] for _ in range(2)] == [6, 6]
    assert not folder.exists()
    assert GraphList([]).fingerprint() is None


def test_several_files_are_known_by_all_of_them(path: Path):
    other = lazy.write(path.with_name("second.npz"), range(6, 8))
    both = [str(path), str(other)]

    def read(files: list[str]) -> int:
        data = lazy.Lazy(train=files)
        data.set_cutoff(3.0)
        data.setup()
        before = len(lazy.READS)
        data.facts("train")
        return len(lazy.READS) - before

    assert [read(both), read(both), read(both[::-1])] == [8, 0, 8]
    touched(other)
    assert read(both) == 8


def test_the_files_used_last_are_kept(path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cache, "_KEPT", 2)
    cutoffs = (2.0, 2.5, 3.0)
    for k, cutoff in enumerate(cutoffs[:2]):
        gathered(path, cutoff)
        newest = max(folder.iterdir(), key=lambda file: file.stat().st_mtime_ns)
        os.utime(newest, ns=(k, k))
    assert gathered(path, cutoffs[0])[1] == 0  # used again
    gathered(path, cutoffs[2])
    assert [gathered(path, cutoff)[1] for cutoff in (2.0, 3.0, 2.5)] == [0, 0, 6]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"HERMNET_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, "/a"),
        ({"HERMNET_CACHE": "", "XDG_CACHE_HOME": "/b"}, "/b/hermnet"),
        ({"HERMNET_CACHE": "", "XDG_CACHE_HOME": "", "HOME": "/c"}, "/c/.cache/hermnet"),
        ({"HERMNET_CACHE": "~/d", "HOME": "/c"}, "/c/d"),
    ],
)
def test_where_the_files_are(
    variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(expected)
