"""Several processes train as one does, and agree on everything else."""

from __future__ import annotations

import ast
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

import ddp
import training
from hermnet.errors import InputError
from hermnet.host import processes

FORCES_ONLY = {"training": {"energy_weight": 0.0}, "model": {"relations": "pair"}}
FROZEN = {"frozen": ["embedding", "readout"], "model": {"subnet": "schnet"}}
N_FEW = 5
FEW = [{**case, "trainer": {"max_steps": N_FEW}} for case in (FORCES_ONLY, FROZEN)]
SUBNETS = ("painn", "schnet", "nequip", "rmconv")
RELATIONS = ("none", "vertex", "pair", "triadic")
SHARING = ("independent", "basis:2", "shared")
ALL = [
    {"model": {"subnet": subnet, "relations": relations, "sharing": SHARING[(i + j) % 3]}}
    for (i, subnet), (j, relations) in product(enumerate(SUBNETS), enumerate(RELATIONS))
]
OTHERS = [
    FORCES_ONLY,
    FROZEN,
    {"training": {"energy_weight": 0.0}, "model": {"relations": "triadic"}, "frozen": ["out"]},
    {"max_edges": 240},
    {"trainer": {"accumulate_grad_batches": 2}},
    *({"readout": name} for name in ("sum", "mean", "vector", "extent", "polarizability")),
    {
        "training": {
            "scheduler": {
                "class_path": "torch.optim.lr_scheduler.ReduceLROnPlateau",
                "patience": 0,
            }
        }
    },
]


def assert_alike(found: list[dict[str, Any]], expected: dict[str, Any], case: Any) -> None:
    """Each process has the gradients, weights and errors of the only one."""
    assert expected["moved"] > 1e-3
    for process in found:
        apart = training.deviation(process, expected)
        assert max(apart.values()) < 1e-12, (process["rank"], case, apart)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What two processes say; starting them takes longer than what they do."""
    return ddp.each(2, "training:in_group", tmp_path_factory.mktemp("two"), FEW)


@pytest.fixture(scope="module")
def one() -> dict[str, Any]:
    return training.in_group(FEW)


@pytest.mark.parametrize("index", range(len(FEW)), ids=["forces", "frozen"])
@pytest.mark.slow
def test_two_processes_train_as_one(index: int, two: list[Any], one: dict[str, Any]):
    expected = one["fits"][index]
    assert_alike([process["fits"][index] for process in two], expected, FEW[index])
    if "frozen" in FEW[index]:
        assert not any("embedding" in name for name in expected["gradients"])
        assert expected["gradients"]
    assert len(expected["energies"]) == N_FEW


def test_a_step_has_the_frames_that_one_process_would_take(two: list[Any], one: dict[str, Any]):
    steps = [one["fits"][0]["energies"], *(process["fits"][0]["energies"] for process in two)]
    for together, *shares in zip(*steps, strict=True):
        assert torch.equal(torch.cat(shares).sort().values, together.sort().values)
    sizes = [[len(share) for share in shares[:3]] for shares in steps]
    assert sizes == [[4, 4, 3], [2, 2, 2], [2, 2, 1]]


def test_sums_are_over_all_processes_and_leave_the_summand_alone(two: list[Any]):
    for number, process in enumerate(two):
        assert process["agreed"]["sum"].item() == 3.0
        assert process["agreed"]["own number"].item() == number + 1.0


def test_all_processes_have_what_the_first_one_makes(two: list[Any]):
    for process in two:
        assert process["agreed"]["from first"] == 0
        assert process["agreed"]["first refuses"] == "refused by 0"


def test_all_processes_refuse_what_one_refuses_or_what_differs(two: list[Any]):
    for number, process in enumerate(two):
        assert process["agreed"]["all alike"] == number + 7
        assert process["agreed"]["last refuses"] == "process 1: refused by 1"
        assert process["agreed"]["all refuse"] == "refused by 0"
        expected = "process 1 reads other data than process 0: 1 frames, not 0 frames"
        assert process["agreed"]["different"] == expected


def test_one_process_needs_nobody():
    assert (processes.rank(), processes.n_processes(), processes.started_as()) == (0, 1, {})
    number = torch.tensor(2.0)
    assert processes.added_up(number) is number
    assert processes.from_first(lambda: 3) == 3
    assert processes.together(lambda: 4, lambda made: pytest.fail("nobody to compare with")) == 4

    def refuse() -> int:
        raise InputError("no")

    for ask in (lambda: processes.from_first(refuse), lambda: processes.together(refuse, str)):
        with pytest.raises(InputError, match="no"):
            ask()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n_processes", "cases"),
    # of four processes each sub-network and each scheme once
    [(2, ALL), (2, OTHERS), (4, ALL[:: len(RELATIONS) + 1]), (4, OTHERS)],
    ids=["networks-2", "others-2", "networks-4", "others-4"],
)
def test_several_processes_train_as_one(n_processes: int, cases: list[Any], tmp_path: Path):
    found = ddp.each(n_processes, "training:fit_all", tmp_path, cases, timeout=1200.0)
    for index, case in enumerate(cases):
        assert_alike([process[index] for process in found], fitted_alone(repr(case)), case)


@cache
def fitted_alone(case: str) -> dict[str, Any]:
    """What one process makes of a case, given as text; two and four are held against it."""
    return training.fit(ast.literal_eval(case))


@pytest.mark.slow
def test_compiled_training_is_alike(tmp_path: Path):
    small = {"subnet": "schnet", "n_layers": 1}  # soon compiled
    cases = [{"training": {"compile": True}, "model": small}]
    found = ddp.each(2, "training:fit_all", tmp_path, cases, timeout=900.0)
    expected = training.fit_all([{"model": small}])
    assert_alike([process[0] for process in found], expected[0], cases[0])
