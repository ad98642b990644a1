from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hermnet.training.metrics import TARGETS, ErrorSums
from labelled import frame, joined

FRAMES = [frame(seed) for seed in range(4)]  # of 5, 8, 11 and 14 atoms


def errors_of(batches: list[list], over_processes=lambda sums: sums) -> dict[str, float]:
    sums = ErrorSums()
    for batch in batches:
        graph, prediction = joined(batch)
        sums.update(prediction, graph)
    return sums.reduce(over_processes)


def test_errors_by_definition():
    graph, prediction = joined(FRAMES)
    expected = {}
    for name, error in {
        "energy": prediction.energy - graph.energy,
        "energy_per_atom": (prediction.energy - graph.energy) / graph.atoms_per_system(),
        "forces": prediction.forces - graph.forces,
        "stress": prediction.stress - graph.stress,
    }.items():
        expected[f"{name}_mae"] = error.abs().mean().item()
        expected[f"{name}_rmse"] = error.square().mean().sqrt().item()
    assert errors_of([FRAMES]) == pytest.approx(expected, rel=1e-12)
    assert {name.rpartition("_")[0] for name in expected} == set(TARGETS)


@pytest.mark.parametrize("sizes", [(3, 1), (1, 3), (1, 1, 2), (1, 1, 1, 1)])
def test_uneven_batches_equal_one(sizes: tuple[int, ...]):
    rest, batches = list(FRAMES), []
    for size in sizes:
        batches.append(rest[:size])
        rest = rest[size:]
    assert errors_of(batches) == pytest.approx(errors_of([FRAMES]), rel=1e-12)


def test_uneven_processes_equal_one():
    shares = [ErrorSums(), ErrorSums()]
    for sums, batch in zip(shares, (FRAMES[:1], FRAMES[1:]), strict=True):
        graph, prediction = joined(batch)
        sums.update(prediction, graph)
    seen: list[torch.Tensor] = []
    shares[1].reduce(lambda sums: seen.append(sums) or sums)  # type: ignore[func-returns-value]
    found = shares[0].reduce(lambda sums: sums + seen[0])
    assert found == pytest.approx(errors_of([FRAMES]), rel=1e-12)


def test_a_process_without_frames_counts_for_nothing():
    seen: list[torch.Tensor] = []
    ErrorSums().reduce(lambda sums: seen.append(sums) or sums)  # type: ignore[func-returns-value]
    assert errors_of([FRAMES], lambda sums: sums + seen[0]) == errors_of([FRAMES])


def test_what_is_missing_is_left_out():
    graph, prediction = joined(FRAMES)
    sums = ErrorSums()
    sums.update(replace(prediction, stress=None), replace(graph, energy=None))
    assert set(sums.reduce(lambda t: t)) == {"forces_mae", "forces_rmse"}
    assert ErrorSums().reduce(lambda t: t) == {}


def test_small_errors_of_large_numbers_survive_float32():
    graph, prediction = joined(FRAMES)
    forces = graph.forces.float() + 1e-3
    sums = ErrorSums()
    for _ in range(100):
        sums.update(replace(prediction, forces=forces), graph)
    assert sums.reduce(lambda t: t)["forces_mae"] == pytest.approx(1e-3, rel=1e-3)
    assert sums.sums["forces"].dtype == torch.float64
    assert not sums.sums["forces"].requires_grad
