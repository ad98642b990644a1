from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hermnet.datamodule import DATAMODULES
from hermnet.datamodules.rmd17 import RMD17
from hermnet.errors import InputError

KCAL = 0.0433641153
NUMBERS = np.array([8, 1, 1], dtype=np.uint8)


def arrays(n_frames: int, first: int = 0) -> dict[str, np.ndarray]:
    """Water-like frames whose energy is 10 times the frame's index."""
    rng = np.random.default_rng(first)
    water = np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    return {
        "nuclear_charges": NUMBERS,
        "coords": water + 0.01 * rng.normal(size=(n_frames, 3, 3)),
        "energies": 10.0 * (first + np.arange(n_frames)),
        "forces": rng.normal(size=(n_frames, 3, 3)),
        "old_indices": np.arange(n_frames),
    }


@pytest.fixture
def own_files(tmp_path: Path) -> Path:
    """The layout with one file per part of a split."""
    np.savez(tmp_path / "rmd17_water_train_02.npz", **arrays(20))
    np.savez(tmp_path / "rmd17_water_test_02.npz", **arrays(6, first=100))
    return tmp_path


@pytest.fixture
def figshare(tmp_path: Path) -> Path:
    """The layout of the archive: all frames in one file, a split is a list of indices."""
    (tmp_path / "npz_data").mkdir()
    (tmp_path / "splits").mkdir()
    np.savez(tmp_path / "npz_data" / "rmd17_water.npz", **arrays(40))
    for split, (train, test) in {1: (range(0, 40, 2), [5, 3]), 3: (range(20), [39])}.items():
        for part, chosen in (("train", train), ("test", test)):
            lines = "".join(f"{index}\n" for index in chosen)
            (tmp_path / "splits" / f"index_{part}_0{split}.csv").write_text(lines)
    return tmp_path


def energies(graphs: list) -> list[int]:
    """Frame indices, read off the energies."""
    return [round(float(graph.energy) / KCAL / 10) for graph in graphs]


def test_one_file_per_part_is_read_in_ev(own_files: Path) -> None:
    splits = RMD17(molecule="water", root=str(own_files), split=2, n_train=15, n_val=5).read()
    assert {split: len(graphs) for split, graphs in splits.items()} == {
        "train": 15,
        "val": 5,
        "test": 6,
    }
    raw = arrays(6, first=100)
    for index, graph in enumerate(splits["test"]):
        np.testing.assert_array_equal(graph.positions, raw["coords"][index])
        np.testing.assert_array_equal(graph.atomic_numbers, NUMBERS)
        np.testing.assert_allclose(graph.energy, raw["energies"][[index]] * KCAL, rtol=1e-12)
        np.testing.assert_allclose(graph.forces, raw["forces"][index] * KCAL, rtol=1e-12)
        assert graph.forces.dtype == graph.energy.dtype == torch.float64
        assert not graph.pbc.any()
        assert graph.n_edges == 0


def test_training_and_validation_are_a_permutation_that_the_seed_fixes(own_files: Path) -> None:
    def read(seed: int) -> tuple[list[int], list[int]]:
        options = {"molecule": "water", "split": 2, "n_train": 15, "n_val": 5, "seed": seed}
        splits = RMD17(root=str(own_files), **options).read()
        return energies(splits["train"]), energies(splits["val"])

    train, val = read(0)
    assert sorted(train + val) == list(range(20))
    assert read(0) == (train, val)
    assert set(read(1)[1]) != set(val)


def test_the_validation_frames_do_not_depend_on_labels_or_position_of_the_file(
    own_files: Path, tmp_path: Path
) -> None:
    options = {"molecule": "water", "split": 2, "n_train": 15, "n_val": 5}
    other = tmp_path / "copy"
    other.mkdir()
    for file in own_files.glob("*.npz"):
        file.rename(other / file.name)
    first = energies(RMD17(root=str(other), **options).read()["val"])
    expected = np.random.default_rng(0).permutation(20)[15:20]
    assert first == expected.tolist()


@pytest.mark.parametrize("folder", ["", "rmd17"])
def test_archive_layout_follows_the_lists_of_the_split(figshare: Path, folder: str) -> None:
    root = figshare
    if folder:
        root = figshare / "unpacked"
        (root / folder).mkdir(parents=True)
        for name in ("npz_data", "splits"):
            (figshare / name).rename(root / folder / name)
    splits = RMD17(molecule="water", root=str(root), split=1, n_train=18, n_val=2).read()
    assert sorted(energies(splits["train"]) + energies(splits["val"])) == list(range(0, 40, 2))
    assert energies(splits["test"]) == [5, 3]
    third = RMD17(molecule="water", root=str(root), split=3, n_train=3, n_val=0).read()
    assert energies(third["test"]) == [39]
    assert third["val"] == []


def test_fewer_test_frames(own_files: Path) -> None:
    options = {"molecule": "water", "root": str(own_files), "split": 2, "n_train": 3, "n_val": 1}
    assert energies(RMD17(n_test=2, **options).read()["test"]) == [100, 101]
    assert RMD17(n_test=0, **options).read()["test"] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_train": 18, "n_val": 3}, r"n_train \+ n_val = 18 \+ 3 is more than the 20 training"),
        ({"n_train": 5, "n_val": 3, "n_test": 7}, "n_test = 7 is more than the 6 test frames"),
    ],
)
def test_more_frames_than_there_are(own_files: Path, options: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        RMD17(molecule="water", root=str(own_files), split=2, **options).read()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": 0}, "split must be 1 to 5, the official splits of rMD17, not 0"),
        ({"split": 6}, "split must be 1 to 5"),
        ({"n_train": 0}, "n_train must be at least 1, not 0"),
        ({"n_val": -1}, "n_val must be at least 0"),
        ({"n_test": -1}, "n_test must be at least 0"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
    ],
)
def test_numbers_out_of_range(options: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        RMD17(**options)


def test_unknown_molecule_says_what_was_looked_for_and_the_nearest(own_files: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'water'") as caught:
        RMD17(molecule="watre", root=str(own_files), split=2).read()
    message = str(caught.value)
    assert "\n" not in message
    assert "rmd17_watre_train_02.npz" in message
    assert "npz_data/rmd17_watre.npz" in message
    assert "splits/index_train_02.csv" in message
    assert "splits there: [2]" in message


def test_missing_split_says_which_there_are(figshare: Path) -> None:
    with pytest.raises(InputError, match=r"splits of water there: \[1, 3\]"):
        RMD17(molecule="water", root=str(figshare), split=2).read()


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such folder"):
        RMD17(root=str(tmp_path / "nowhere")).read()


def test_folder_without_data(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"molecules there: \(known: none\)"):
        RMD17(root=str(tmp_path)).read()


def test_file_that_lacks_an_array(own_files: Path) -> None:
    path = own_files / "rmd17_water_train_02.npz"
    np.savez(path, **{k: v for k, v in arrays(20).items() if k != "forces"})
    with pytest.raises(InputError, match="lacks forces; it has nuclear_charges, coords"):
        RMD17(molecule="water", root=str(own_files), split=2).read()


def test_file_whose_arrays_do_not_fit(own_files: Path) -> None:
    path = own_files / "rmd17_water_train_02.npz"
    np.savez(path, **arrays(20) | {"coords": np.zeros((20, 4, 3))})
    with pytest.raises(InputError, match=r"coords has shape \(20, 4, 3\), not \(20, 3, 3\)"):
        RMD17(molecule="water", root=str(own_files), split=2).read()


def test_truncated_file(own_files: Path) -> None:
    path = own_files / "rmd17_water_test_02.npz"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"cannot read .*rmd17_water_test_02.npz"):
        RMD17(molecule="water", root=str(own_files), split=2).read()


def test_pickled_arrays_are_not_opened(own_files: Path) -> None:
    path = own_files / "rmd17_water_train_02.npz"
    np.savez(path, **arrays(20) | {"energies": np.array([print] * 20, dtype=object)})
    with pytest.raises(InputError, match=r"cannot read .*allow_pickle=False"):
        RMD17(molecule="water", root=str(own_files), split=2).read()


@pytest.mark.parametrize(
    ("text", "message"),
    [("3\n40\n", "asks for frame 40; .*rmd17_water.npz has 40"), ("a,b\n", "not one frame index")],
)
def test_bad_list_of_a_split(figshare: Path, text: str, message: str) -> None:
    (figshare / "splits" / "index_train_01.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        RMD17(molecule="water", root=str(figshare)).read()


def test_ethanol_comes_along() -> None:
    data = RMD17()
    data.set_cutoff(5.0)
    data.setup("fit")
    sizes = {split: len(data.graphs(split)) for split in data.splits()}
    assert sizes == {"train": 950, "val": 50, "test": 1000}
    assert data.label_names("train") == {"energy", "forces"}
    everything = [graph for split in data.splits() for graph in data.graphs(split)]
    energy = torch.cat([graph.energy for graph in everything]) / KCAL  # (2000,) kcal/mol
    assert float(energy[:1000].min()) == pytest.approx(-97085.86325424352, abs=1e-6)  # as published
    assert float(energy[:1000].max()) == pytest.approx(-97061.69942775187, abs=1e-6)
    net = torch.stack([graph.forces.sum(dim=0) for graph in everything])
    assert net.abs().max() < 1e-6
    assert {tuple(graph.atomic_numbers.tolist()) for graph in everything} == {
        (6, 6, 8, 1, 1, 1, 1, 1, 1)
    }
    assert len({float(e) for e in energy}) == 2000


def test_ethanol_forces_are_the_slope_of_its_energies() -> None:
    # Near frames: after alignment dE = -(F1 + F2)/2 . dx to second order; 0.98 for these data.
    graphs = RMD17().read()["train"]
    x = np.stack([graph.positions.numpy() for graph in graphs])
    x = x - x.mean(axis=1, keepdims=True)
    force = np.stack([graph.forces.numpy() for graph in graphs])
    energy = np.array([float(graph.energy) for graph in graphs])
    shape = np.linalg.norm(x[:, :, None] - x[:, None], axis=-1).reshape(len(x), -1)
    apart = np.array([np.linalg.norm(shape - row, axis=1) for row in shape])
    first, second = np.unravel_index(np.argsort(apart, axis=None), apart.shape)
    measured, expected = [], []
    for i, j in [(i, j) for i, j in zip(first, second, strict=True) if i < j][:60]:
        u, _, v = np.linalg.svd(x[j].T @ x[i])
        turn = u @ v
        work = -(force[i] + force[j] @ turn) / 2 * (x[j] @ turn - x[i])
        expected.append(work.sum())
        measured.append(energy[j] - energy[i])
    slope = np.dot(measured, expected) / np.dot(expected, expected)
    assert slope == pytest.approx(1.0, abs=0.1)
    assert np.corrcoef(measured, expected)[0, 1] > 0.95


def test_only_ethanol_comes_along() -> None:
    with pytest.raises(InputError, match=r"no rMD17 data of 'aspirin', split 1.*known: ethanol"):
        RMD17(molecule="aspirin").read()


def test_the_name_in_recipes() -> None:
    assert DATAMODULES.get("rmd17") is RMD17
