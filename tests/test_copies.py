"""Distinct (atom, relation) pairs."""

from __future__ import annotations

import pytest
import torch

from hermnet import copies as module
from hermnet import relations
from hermnet.checks import assert_same, evaluate, random_potential
from hermnet.copies import are_few, copies_of
from hermnet.model_options import ModelOptions
from hermnet.neighbors import graph_from_atoms
from hermnet.testing import ELEMENTS, molecule


@pytest.mark.parametrize("table", [0, 1000], ids=["sorting", "table"])
@pytest.mark.parametrize("n_atoms", [3, 300])
def test_distinct_pairs_and_their_rows(monkeypatch: pytest.MonkeyPatch, n_atoms: int, table: int):
    key = torch.randint(0, 4 * n_atoms, (50,))
    monkeypatch.setattr(module, "_TABLE", table)
    found, rows = copies_of(key, 4, n_atoms)
    used, expected = torch.unique(key, return_inverse=True)
    assert torch.equal(rows, expected)
    assert torch.equal(found.atom, used % n_atoms)
    assert found.offsets.tolist() == [int((used < k * n_atoms).sum()) for k in range(1, 5)]
    assert found.offsets.dtype == torch.int32


@pytest.mark.parametrize("sharing", ["independent", "basis:2"])
@pytest.mark.parametrize("heterogeneity", ["full", "filters"])
def test_copies_that_send_nothing_change_nothing(
    monkeypatch: pytest.MonkeyPatch, sharing: str, heterogeneity: str
):
    """On accelerators all pairs are listed, so that the host need not count those in use."""
    options = ModelOptions(
        relations="vertex", sharing=sharing, heterogeneity=heterogeneity, n_channels=4, n_layers=2,
        n_radial=5, cutoff=3.0, dtype="float64",
    )  # fmt: skip
    potential = random_potential(options, ELEMENTS)
    atoms = molecule() + molecule(seed=1)
    atoms.positions[5:, 0] += 1.0
    graph = graph_from_atoms(atoms, 3.0)
    before = potential.indices(graph).expansions[0]
    expected = evaluate(potential, graph)
    monkeypatch.setattr(relations, "waits", lambda device: True)
    after = potential.indices(graph).expansions[0]
    assert after.kinds.atom.shape[0] > before.kinds.atom.shape[0]
    assert heterogeneity == "filters" or after.sources.atom.shape[0] == 10 * len(ELEMENTS)
    assert_same(evaluate(potential, graph), expected, 1e-10)


def test_all_pairs_are_listed_where_they_are_few_or_fewer_than_edges():
    assert are_few(100_000, 100_000)
    assert not are_few(100_001, 100_000)
    assert are_few(20_000, 100), "a GPU takes longer to tell how many are in use"
    assert not are_few(0, 100)
