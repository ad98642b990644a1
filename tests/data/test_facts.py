"""Facts of sets of frames against plain loops and numpy's own least squares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms

import structures
from hermnet.data import gathering
from hermnet.data.facts import Facts
from hermnet.data.gathering import gather
from hermnet.data.least_squares import EnergyEquations
from hermnet.elements import symbol
from hermnet.errors import InputError
from hermnet.graph import AtomicGraph
from hermnet.neighbors import graph_from_atoms
from hermnet.potential import ModelOptions, Potential

CUTOFF = 3.0


def labelled(seed: int) -> AtomicGraph:
    """A structure of its own size with labels; every third lacks or masks some."""
    atoms = structures.crystal() if seed % 4 == 0 else structures.mixture(seed, 5 + seed % 7)
    graph = graph_from_atoms(atoms, CUTOFF)
    rng = np.random.default_rng(seed)
    energy = torch.tensor([-1e3 * graph.atomic_numbers.sum() + rng.normal()], dtype=torch.float64)
    forces = torch.from_numpy(rng.normal(size=(graph.n_atoms, 3)))
    if seed % 3 == 1:
        return replace(graph, energy=energy * torch.nan, forces=forces)
    return replace(graph, energy=energy, forces=forces if seed % 3 == 0 else forces * torch.nan)


GRAPHS = [labelled(seed) for seed in range(11)]


def test_sizes_labels_and_forces():
    alone = replace(graph_from_atoms(Atoms("He"), CUTOFF), energy=torch.zeros(1).double())
    facts = gather([*GRAPHS, alone])
    assert facts.n_atoms.tolist() == [graph.n_atoms for graph in GRAPHS] + [1]
    assert facts.n_edges.tolist() == [graph.n_edges for graph in GRAPHS] + [0]
    assert facts.n_atoms.dtype == facts.n_edges.dtype == np.int32
    numbers = torch.cat([graph.atomic_numbers for graph in GRAPHS])
    assert facts.elements == tuple(sorted({2, *numbers.tolist()}))
    assert {z: facts.atoms[z] for z in facts.elements} == {**Counter(numbers.tolist()), 2: 1}
    assert facts.labels == {"energy": 12, "forces": 11, "stress": 0}
    assert facts.known == {"energy": 8, "forces": 8, "stress": 0}
    forces = torch.cat([graph.forces for graph in GRAPHS])
    for z in facts.elements:
        own = forces[numbers == z]
        assert facts.force_squares[z] == pytest.approx(float((own.nan_to_num() ** 2).sum()))
        assert facts.force_components[z] == int(own.isfinite().sum())


def brute(relations: str, home: dict[int, str]) -> Counter[str]:
    """Edges of each relation, atom by atom."""
    found: Counter[str] = Counter()
    for graph in GRAPHS:
        kinds = [home[z] for z in graph.atomic_numbers.tolist()]
        for center in range(graph.n_atoms):
            around = [kinds[j] for j in graph.neighbors[graph.centers == center].tolist()]
            for kind in around:
                if relations == "triadic":
                    found.update("-*-".join(sorted((kind, other))) for other in set(around))
                else:
                    own = kinds[center]
                    found[{"none": "all", "vertex": own, "pair": f"{kind}-{own}"}[relations]] += 1
    return found


@pytest.mark.parametrize("classes", ["element", "group", "period", "block", "mapping"])
@pytest.mark.parametrize("relations", ["none", "vertex", "pair", "triadic"])
def test_edges_of_each_relation_in_every_scheme(relations: str, classes: str):
    facts = gather(GRAPHS)
    mapping = {"X": [symbol(z) for z in facts.elements[::2]]}
    mapping["Y"] = [symbol(z) for z in facts.elements[1::2]]
    options = ModelOptions(
        relations=relations,
        classes=mapping if classes == "mapping" else classes,
        n_channels=2,
        n_layers=0,
        cutoff=CUTOFF,
    )
    potential = Potential(options, facts.elements, 1.0)
    names = potential.router.scheme.names
    home = {z: names[potential.class_of_type[k]] for k, z in enumerate(facts.elements)}
    counts = potential.count_edges(facts)
    assert tuple(counts) == potential.relation_labels
    alike = Counter({"-*-".join(sorted(label.split("-*-"))): n for label, n in counts.items()})
    assert +alike == brute(relations, home)


def test_atoms_without_neighbors():
    expected = sum(g.n_atoms - len(set(g.centers.tolist())) for g in GRAPHS)
    lonely = [*GRAPHS, graph_from_atoms(Atoms("He2", [[0, 0, 0], [9, 0, 0]]), CUTOFF)]
    assert gather(GRAPHS).n_alone == expected
    assert gather(lonely).n_alone == expected + 2


def test_edges_of_each_pair_of_elements():
    expected: Counter[tuple[int, int]] = Counter()
    for graph in GRAPHS:
        numbers = graph.atomic_numbers
        ends = zip(numbers[graph.centers].tolist(), numbers[graph.neighbors].tolist(), strict=True)
        expected.update(ends)
    assert gather(GRAPHS).environments.pairs() == expected


def compositions(n_frames: int, elements: Sequence[int]) -> np.ndarray:
    """(n_frames, 119) atoms by atomic number."""
    counts = np.zeros((n_frames, 119), dtype=np.int64)
    shape = (n_frames, len(elements))
    counts[:, list(elements)] = np.random.default_rng(0).integers(0, 60, size=shape)
    return counts


def blocks(counts: np.ndarray, energies: np.ndarray) -> EnergyEquations:
    """The equations, joined block by block as a pass over frames does."""
    found = EnergyEquations.of(counts[:7], energies[:7])
    for start in range(7, len(counts), 50):
        part = EnergyEquations.of(counts[start : start + 50], energies[start : start + 50])
        found = EnergyEquations.joined([found, part])
    return found


@pytest.mark.parametrize("scale", [1.0, 1e2, 1e4])  # eV per atom and atomic number
def test_reference_energies_are_those_of_all_equations_at_once(scale: float):
    elements = (1, 6, 8, 26)
    counts = compositions(2000, elements)
    noise = np.random.default_rng(1).normal(size=len(counts)) * counts.sum(axis=1)
    energies = -scale * counts @ np.arange(119) + noise
    energies[::17] = np.nan
    known = np.isfinite(energies)
    assert scale < 1e4 or np.nanmin(energies) < -1e6
    found = blocks(counts, energies)
    matrix = counts[known][:, elements]
    expected = np.linalg.lstsq(matrix, energies[known], rcond=None)[0]
    fit = found.fit(elements)
    np.testing.assert_allclose(fit.energies, expected, rtol=0, atol=1e-8)
    assert (fit.rank, fit.doubtful, found.n_frames) == (4, (), known.sum())
    rest = (energies[known] - matrix @ expected) / matrix.sum(axis=1)
    assert found.spread(elements, expected) == pytest.approx(rest.std(), rel=1e-8)
    given = np.array([-1.0, 2.0, -3.0, 4.0])
    rest = (energies[known] - matrix @ given) / matrix.sum(axis=1)
    assert found.spread(elements, given) == pytest.approx(rest.std(), rel=1e-8)


def test_elements_in_doubt_share_the_mean():
    elements = (1, 6, 8)
    counts = np.zeros((300, 119), dtype=np.int64)
    counts[:, 1] = np.random.default_rng(0).integers(1, 9, size=300)
    counts[:, 6] = np.random.default_rng(1).integers(1, 9, size=300)
    counts[:, 8] = 2 * counts[:, 6]  # never one without two of the other
    energies = counts @ np.where(np.arange(119) == 1, -13.0, -1000.0) + 0.5
    fit = blocks(counts, energies).fit(elements)
    assert (fit.rank, fit.doubtful) == (2, (1, 2))
    matrix = counts[:, elements]
    n_atoms = matrix.sum(axis=1)
    mean = n_atoms @ energies / (n_atoms @ n_atoms)
    expected = mean + np.linalg.pinv(matrix) @ (energies - mean * n_atoms)
    np.testing.assert_allclose(fit.energies, expected, rtol=1e-9)
    # A direction that says nothing about any sum: one more carbon for two oxygens less.
    np.testing.assert_allclose(fit.energies[1:] @ (2, -1), mean, rtol=1e-9)


@pytest.fixture
def _many_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "_CHUNK", 2)
    monkeypatch.setattr(gathering, "_WAITING", 3)
    monkeypatch.setattr(gathering, "_MANY_EDGES", 300)


def same(one: Facts, other: Facts) -> None:
    """Equal to the last bit."""
    for name, array in one.arrays().items():
        np.testing.assert_array_equal(other.arrays()[name], array, err_msg=name)
        assert other.arrays()[name].dtype == array.dtype


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # where there is one core
@pytest.mark.usefixtures("_many_chunks")
def test_processes_find_the_same_to_the_last_bit():
    state = torch.random.get_rng_state()
    facts = gather(GRAPHS)
    for num_workers in (1, 2):
        same(gather(GRAPHS, num_workers), facts)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_chunks_do_not_matter_but_for_rounding(monkeypatch: pytest.MonkeyPatch):
    whole = gather(GRAPHS)
    monkeypatch.setattr(gathering, "_CHUNK", 3)
    parts = gather(GRAPHS)
    assert parts.environments.pairs() == whole.environments.pairs()
    fits = [facts.energies.fit(facts.elements) for facts in (parts, whole)]
    np.testing.assert_allclose(fits[0].energies, fits[1].energies, rtol=1e-10)
    assert fits[0].doubtful == fits[1].doubtful


class Broken(list[AtomicGraph]):
    """Graphs of which one cannot be read."""

    def __getitem__(self, index: int) -> AtomicGraph:  # type: ignore[override]
        if index == 5:
            raise InputError("train frame 5: two atoms at one place")
        return super().__getitem__(index)

    def __iter__(self) -> Iterator[AtomicGraph]:
        raise AssertionError("graphs are asked for by index")


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.usefixtures("_many_chunks")
@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_frame_that_cannot_be_used_is_named_in_one_line(num_workers: int):
    with pytest.raises(InputError, match=r"^train frame 5: two atoms at one place$"):
        gather(Broken(GRAPHS), num_workers)


def test_facts_as_arrays_and_back():
    for graphs in (GRAPHS, [graph_from_atoms(Atoms("He"), CUTOFF)]):
        facts = gather(graphs)
        again = Facts.from_arrays(facts.arrays())
        same(again, facts)
        assert again.labels == facts.labels
        assert again.environments.edges.keys() == facts.environments.edges.keys()
    damaged = {**facts.arrays(), "atoms": np.zeros(119, dtype=np.int64)}
    with pytest.raises(ValueError, match="do not fit together"):
        Facts.from_arrays(damaged)
