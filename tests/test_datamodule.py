from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from pytorch_lightning import LightningModule, Trainer

import lazy
from hermnet.datamodule import EpochSampler, GraphDataModule
from hermnet.errors import InputError, InputErrors
from hermnet.graph import AtomicGraph
from hermnet.neighbors import graph_from_atoms


class Given(GraphDataModule):
    """Frames as they are given, counting how often they are read."""

    def __init__(self, frames: dict[str, list[AtomicGraph]], **options: int) -> None:
        super().__init__(**options)
        self.frames = frames
        self.n_reads = 0

    def read(self) -> dict[str, list[AtomicGraph]]:
        self.n_reads += 1
        return self.frames


def water(index: int = 0, forces: bool = True) -> AtomicGraph:
    """A water molecule whose energy is its index."""
    positions = [[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]]
    graph = graph_from_atoms(Atoms("OHH", positions))
    labels = {"forces": torch.zeros(3, 3, dtype=torch.float64)} if forces else {}
    return replace(graph, energy=torch.tensor([float(index)], dtype=torch.float64), **labels)


def ready(
    frames: dict[str, list[AtomicGraph]], cutoff: float = 3.0, **options: int
) -> GraphDataModule:
    data = Given(frames, **options)
    data.set_cutoff(cutoff)
    data.setup("fit")
    return data


def order(data: GraphDataModule, epoch: int) -> list[int]:
    loader = data.train_dataloader()
    loader.batch_sampler.sampler.set_epoch(epoch)
    return [int(energy) for batch in loader for energy in batch.energy]


def test_sampler_gives_every_index_once_in_an_order_of_seed_and_epoch() -> None:
    sampler = EpochSampler(50, seed=3)
    first = list(sampler)
    assert list(sampler) == first
    sampler.set_epoch(1)
    second = list(sampler)
    assert sorted(first) == sorted(second) == list(range(50))
    assert (
        len({tuple(first), tuple(second), tuple(EpochSampler(50, seed=4)), tuple(range(50))}) == 4
    )
    sampler.set_epoch(0)
    assert list(sampler) == first


def test_training_order_neither_reads_nor_advances_the_global_random_state() -> None:
    data = ready({"train": [water(k) for k in range(20)]}, batch_size=3)
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002 - the global state is what must not matter
    first = order(data, epoch=5)
    state = torch.random.get_rng_state()
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002
    assert order(data, epoch=5) == first
    assert order(data, epoch=6) != first
    torch.manual_seed(1)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_batches_hold_every_frame_and_drop_no_rest() -> None:
    frames = {name: [water(k) for k in range(7)] for name in ("train", "val", "test", "hot")}
    data = ready(frames, batch_size=3, eval_batch_size=5)
    assert [batch.n_systems for batch in data.train_dataloader()] == [3, 3, 1]
    for loader in (
        data.val_dataloader(),
        *data.test_dataloader(),
        data.predict_dataloader(),
        data.eval_dataloader("hot"),
    ):
        batches = list(loader)
        assert [batch.n_systems for batch in batches] == [5, 2]
        assert torch.cat([batch.energy for batch in batches]).tolist() == list(range(7))
        assert batches[0].n_edges == 5 * 6


def test_collating_processes_give_the_same_batches() -> None:
    frames = {"train": [water(k) for k in range(6)]}
    plain, workers = (ready(frames, batch_size=4, num_workers=n) for n in (0, 1))
    assert order(plain, epoch=2) == order(workers, epoch=2)


def test_frames_are_read_once_and_linked_once_per_cutoff() -> None:
    data = Given({"train": [water()]})
    data.set_cutoff(3.0)
    data.setup("fit")
    before = data.graphs("train")[0]
    data.setup("test")
    assert data.graphs("train")[0] is before
    assert before.n_edges == 6
    data.set_cutoff(1.2)
    assert data.graphs("train")[0].n_edges == 4  # without the pair of hydrogens
    data.set_cutoff(3.0)
    assert data.graphs("train")[0] is before
    assert data.n_reads == 1
    assert data.frames["train"][0].n_edges == 0


def test_label_names_are_those_of_every_frame() -> None:
    data = ready({"train": [water(0), water(1)], "val": [water(2), water(3, forces=False)]})
    assert data.label_names("train") == {"energy", "forces"}
    assert data.label_names("val") == {"energy"}


def test_one_frame_in_one_split_works_and_other_splits_say_what_there_is() -> None:
    data = ready({"train": [water()], "val": []})
    assert data.splits() == ("train",)
    assert [batch.n_systems for batch in data.train_dataloader()] == [1]
    assert data.val_dataloader() == []
    for ask in (data.test_dataloader, data.predict_dataloader):
        with pytest.raises(InputError, match=r"no 'test' frames; splits with frames: train \(1\)"):
            ask()


@pytest.mark.parametrize("frames", [{}, {"train": []}, {"val": [water()]}])
def test_empty_training_set(frames: dict[str, list[AtomicGraph]]) -> None:
    with pytest.raises(InputError, match="the training set is empty"):
        ready(frames)


@pytest.mark.parametrize("name", ["positions", "cell", "energy", "forces"])
@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_numbers_that_are_not_finite_are_named(name: str, value: float) -> None:
    broken = getattr(water(), name).clone()
    broken.view(-1)[0] = value
    frames = {"train": [water()], "val": [water(), water(), replace(water(), **{name: broken})]}
    with pytest.raises(InputError, match=f"val frame 2: {name} with NaN or infinity"):
        ready(frames)


def test_many_bad_frames_are_counted() -> None:
    broken = replace(water(), energy=torch.tensor([float("nan")]))
    with pytest.raises(InputErrors, match="and 4 more of this kind") as caught:
        ready({"train": [broken] * 9})
    assert len(caught.value.messages) == 6
    assert caught.value.messages[0] == "train frame 0: energy with NaN or infinity"


def test_frame_without_atoms() -> None:
    none = torch.zeros(0, dtype=torch.int64)
    empty = replace(
        water().without_labels(),
        positions=torch.zeros(0, 3, dtype=torch.float64),
        atomic_numbers=none,
        batch=none,
    )
    with pytest.raises(InputError, match="train frame 1 has no atoms"):
        ready({"train": [water(), empty]})


def test_two_atoms_at_one_place_are_named() -> None:
    twice = graph_from_atoms(Atoms("OHH", [[0, 0, 0], [1, 0, 0], [1, 0, 5e-4]]))
    with pytest.raises(InputError, match=r"train frame 1: atoms 1 \(H\) and 2 \(H\) are 0.0005 A"):
        ready({"train": [water(), twice]})


def test_an_atom_on_the_periodic_image_of_another_is_named() -> None:
    atoms = Atoms("CuAu", [[0, 0, 0], [0, 0, 4.0]], cell=[4, 4, 4], pbc=True)
    with pytest.raises(InputError, match=r"train frame 0: atoms 0 \(Cu\) and 1 \(Au\) are 0 A"):
        ready({"train": [graph_from_atoms(atoms)]})
    atoms.pbc = (True, True, False)
    assert ready({"train": [graph_from_atoms(atoms)]}, cutoff=4.5).graphs("train")[0].n_edges > 0


def test_a_structure_that_cannot_be_linked_is_named() -> None:
    flat = graph_from_atoms(Atoms("H", pbc=True))
    with pytest.raises(InputError, match=r"train frame 1: the structure is periodic .* dependent"):
        ready({"train": [water(), flat]})


def test_atoms_without_neighbor_warn_once_with_number_and_cutoff() -> None:
    frames = {"train": [water(), graph_from_atoms(Atoms("He"))], "val": [water()]}
    with pytest.warns(UserWarning, match="1 of 7 atoms have no neighbor .* 3 A") as caught:
        data = ready(frames)
    assert len(caught) == 1
    with pytest.warns(UserWarning, match="7 of 7 atoms have no neighbor .* 0.5 A"):
        ready(frames, cutoff=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data.setup("test")  # said already
        ready({"train": [graph_from_atoms(bulk("Cu"))]})


def test_atoms_without_neighbor_in_frames_on_disk_warn_when_they_are_read(tmp_path: Path) -> None:
    path = lazy.write(tmp_path / "methanol.npz", range(3))
    for _ in range(2):  # the second time from the cache
        data = lazy.Lazy(train=str(path))
        data.set_cutoff(0.5)
        data.setup()
        with pytest.warns(UserWarning, match="18 of 18 atoms have no neighbor .* 0.5 A") as caught:
            data.facts("train")
        data.facts("train")
        assert len(caught) == 1


@pytest.mark.parametrize("cutoff", [0.0, -1.0, float("nan"), float("inf")])
def test_cutoff_must_be_a_length(cutoff: float) -> None:
    with pytest.raises(InputError, match="cutoff must be a length above"):
        Given({}).set_cutoff(cutoff)


def test_setup_needs_a_cutoff() -> None:
    with pytest.raises(RuntimeError, match="set_cutoff before setup"):
        Given({"train": [water()]}).setup()


@pytest.mark.parametrize(
    ("name", "value"),
    [("batch_size", 0), ("eval_batch_size", 0), ("num_workers", -1), ("seed", -1)],
)
def test_options_out_of_range(name: str, value: int) -> None:
    with pytest.raises(InputError, match=f"{name} must be at least"):
        Given({}, **{name: value})


class Recorder(LightningModule):
    """Fits one number and writes down which frames came in which epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[tuple[int, list[float]]] = []

    def training_step(self, graph: AtomicGraph) -> torch.Tensor:
        self.seen.append((self.current_epoch, graph.energy.tolist()))
        return self.weight**2

    def validation_step(self, graph: AtomicGraph) -> None:
        self.seen.append((-1, graph.energy.tolist()))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters())


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:Total length of `list` across ranks is zero")
@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # inside Lightning
def test_lightning_trains_in_the_order_of_the_epoch_and_skips_missing_validation() -> None:
    data = ready({"train": [water(k) for k in range(12)]}, batch_size=12)
    model = Recorder()
    Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    ).fit(model, datamodule=data)
    assert model.seen == [(epoch, order(data, epoch)) for epoch in range(3)]
