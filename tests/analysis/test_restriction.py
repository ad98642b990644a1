"""Some relations of a union against `Scheme.expand`, which can leave relations out."""

from __future__ import annotations

import pytest
import torch

import structures
from hermnet.analysis.restriction import restricted
from hermnet.classes import element_classes
from hermnet.graph import collate
from hermnet.neighbors import graph_from_atoms
from hermnet.relations import SCHEMES, make_scheme

ELEMENTS = (8, 1, 6, 22, 56, 7)


@pytest.mark.parametrize("shares_sources", [False, True])
@pytest.mark.parametrize("name", sorted(SCHEMES))
def test_relations_are_left_out(name: str, shares_sources: bool):
    scheme = make_scheme(name, element_classes("element", ELEMENTS))
    frames = [structures.molecule(), structures.crystal(), structures.molecule()[[2]]]
    graph = collate([graph_from_atoms(frame, 3.0) for frame in frames])
    types = torch.tensor([ELEMENTS.index(z) for z in graph.atomic_numbers.tolist()])
    whole = scheme.expand(types, graph.centers, graph.neighbors, None, shares_sources)
    for kept in ([], [0], list(range(1, scheme.n_relations, 2)), list(range(scheme.n_relations))):
        part = torch.full((scheme.n_relations,), -1)
        part[kept] = torch.arange(len(kept))
        found = restricted(whole, kept)
        expected = scheme.expand(types, graph.centers, graph.neighbors, part)
        for field in ("edge", "centers", "neighbor_atoms", "side_rows", "side_centers"):
            assert torch.equal(getattr(found, field), getattr(expected, field)), field
        assert torch.equal(found.receivers.atom, expected.receivers.atom)
        assert torch.equal(found.sources.atom[found.neighbors], found.neighbor_atoms)
        assert len(found.offsets) == len(whole.offsets), "their numbers stay"
        assert found.offsets[-1] == len(found.edge)
        if not shares_sources:
            assert torch.equal(found.sources.atom, expected.sources.atom)
        ends = found.receivers.offsets.diff(prepend=torch.zeros(1, dtype=torch.int32))
        assert torch.nonzero(ends).flatten().tolist() == [k for k in kept if ends[k]]
