"""`AtomicGraph` and `collate`."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, replace
from multiprocessing.reduction import ForkingPickler

import pytest
import torch
from ase.build import bulk
from torch.utils import _pytree as pytree

import structures
from hermnet.graph import AtomicGraph, collate
from hermnet.neighbors import graph_from_atoms

LABELS = ("energy", "forces", "stress", "scalars", "dipole")


def labelled(atoms, energy: float = 1.5) -> AtomicGraph:
    graph = graph_from_atoms(atoms, 3.0)
    return replace(
        graph,
        energy=torch.tensor([energy], dtype=torch.float64),
        forces=torch.randn(graph.n_atoms, 3, dtype=torch.float64),
        stress=torch.randn(1, 3, 3, dtype=torch.float64),
        scalars=torch.tensor([[energy, 2 * energy]], dtype=torch.float64),
        dipole=torch.randn(1, 3, dtype=torch.float64),
    )


@pytest.fixture
def three() -> list[AtomicGraph]:
    frames = (structures.molecule(), structures.crystal(), structures.mixture())
    return [labelled(atoms, energy) for energy, atoms in enumerate(frames)]


def test_sizes(three: list[AtomicGraph]):
    batch = collate(three)
    assert batch.n_systems == 3
    assert batch.n_atoms == 9 + 5 + 12
    assert batch.n_edges == sum(graph.n_edges for graph in three)
    assert batch.atoms_per_system().tolist() == [9, 5, 12]


def test_collate_keeps_every_structure(three: list[AtomicGraph]):
    batch = collate(three)
    for system, graph in enumerate(three):
        atoms = batch.batch == system
        edges = atoms[batch.centers]
        first = int(atoms.nonzero()[0])
        assert torch.equal(edges, atoms[batch.neighbors])
        assert torch.equal(batch.centers[edges] - first, graph.centers)
        assert torch.equal(batch.neighbors[edges] - first, graph.neighbors)
        assert torch.equal(batch.shifts[edges], graph.shifts)
        for name in ("positions", "atomic_numbers", "forces"):
            assert torch.equal(getattr(batch, name)[atoms], getattr(graph, name)), name
        for name in ("cell", "pbc", "energy", "stress", "scalars", "dipole"):
            assert torch.equal(getattr(batch, name)[system : system + 1], getattr(graph, name)), (
                name
            )


def test_edges_stay_sorted_by_center(three: list[AtomicGraph]):
    assert (collate(three).centers.diff() >= 0).all()


def test_batches_of_batches(three: list[AtomicGraph]):
    nested, flat = collate([collate(three[:2]), three[2]]), collate(three)
    for field in fields(AtomicGraph):
        assert torch.equal(getattr(nested, field.name), getattr(flat, field.name)), field.name


def test_a_label_that_one_structure_lacks_is_dropped(three: list[AtomicGraph]):
    batch = collate([three[0], replace(three[1], stress=None), three[2]])
    assert batch.stress is None
    assert batch.energy is not None
    assert batch.energy.tolist() == [0.0, 1.0, 2.0]
    assert batch.forces is not None


def test_nothing_to_collate():
    with pytest.raises(ValueError, match="collate needs at least one graph"):
        collate([])


def test_without_labels(three: list[AtomicGraph]):
    bare = three[0].without_labels()
    assert bare.energy is bare.forces is bare.stress is None
    assert bare.positions is three[0].positions


def test_to_keeps_dtypes_and_absent_labels(three: list[AtomicGraph]):
    graph = replace(three[0], stress=None)
    moved = graph.to("meta")
    for field in fields(AtomicGraph):
        before, after = getattr(graph, field.name), getattr(moved, field.name)
        if before is None:
            assert after is None
        else:
            assert (after.device.type, after.dtype) == ("meta", before.dtype), field.name
    assert graph.positions.device.type == "cpu"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="page-locked memory needs CUDA")
def test_pin_memory(three: list[AtomicGraph]):
    pinned = three[0].pin_memory()
    assert pinned.positions.is_pinned()
    assert pinned.energy is not None
    assert pinned.energy.is_pinned()


def test_a_graph_is_a_pytree_of_its_tensors(three: list[AtomicGraph]):
    graph = replace(three[0], stress=None)
    leaves, structure = pytree.tree_flatten(graph)
    tensors = [leaf for leaf in leaves if leaf is not None]
    assert len(tensors) == len(fields(AtomicGraph)) - 1
    assert pytree.tree_unflatten(leaves, structure) == graph


def test_nobody_writes_into_a_graph(three: list[AtomicGraph]):
    with pytest.raises(FrozenInstanceError):
        three[0].energy = None  # type: ignore[misc]


def test_properties_are_labels_like_others(three: list[AtomicGraph]):
    batch = collate(three)
    assert batch.scalars is not None
    assert batch.scalars.tolist() == [[0.0, 0.0], [1.0, 2.0], [2.0, 4.0]]
    assert collate([three[0], replace(three[1], scalars=None)]).scalars is None
    assert collate([three[0], replace(three[1], scalars=None)]).dipole is not None
    bare = batch.without_labels()
    assert [name for name in LABELS if getattr(bare, name) is not None] == []


@pytest.mark.parametrize("largest", [0, 10**6])
def test_a_graph_reaches_another_process_whole(monkeypatch: pytest.MonkeyPatch, largest: int):
    monkeypatch.setattr("hermnet.graph._LARGEST_IN_PIPE", largest)
    graph = replace(graph_from_atoms(bulk("Cu"), 3.0), energy=torch.ones(1).double())
    blob = bytes(ForkingPickler.dumps(graph))
    assert (b"numpy" in blob) == (largest > 0)
    found = ForkingPickler.loads(blob)
    for name, value in vars(graph).items():
        if value is None:
            assert vars(found)[name] is None
        else:
            torch.testing.assert_close(vars(found)[name], value, rtol=0, atol=0)
    found.positions.add_(1.0)  # memory of its own
