"""Distinct (atom, relation) pairs."""

from __future__ import annotations

import pytest
import torch

from hermnet import copies as module
from hermnet.copies import copies_of


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
