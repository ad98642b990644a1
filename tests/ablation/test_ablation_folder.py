from __future__ import annotations

from pathlib import Path

import pytest

from ablations import planned, started
from hermnet.ablation.folder import AblationFolder, Status
from hermnet.ablation.grid import Grid
from hermnet.ablation.planning import Base, make_plan
from hermnet.ablation.trial import Trials
from hermnet.errors import InputError

GRID = Grid({"model.relations": ["none", "vertex"]})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("folder")


@pytest.fixture(scope="module")
def ablation(place: Path) -> AblationFolder:
    return started(place, GRID)


def test_the_same_grid_goes_on(place: Path, ablation: AblationFolder):
    ablation.check(planned(place, GRID))


def test_more_values_and_seeds_may_join(place: Path, ablation: AblationFolder):
    more = Grid({"model.relations": ["none", "pair", "vertex"]}, seeds=(0, 1))
    ablation.check(planned(place, more))


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (Grid({"model.subnet": ["painn"]}), "holds another ablation, of model.relations; choose"),
        (Grid(GRID.axes, equal="steps"), "with equal nothing; choose another folder with --output"),
    ],
)
def test_another_grid_is_refused(place: Path, ablation: AblationFolder, grid: Grid, message: str):
    with pytest.raises(InputError, match=message):
        ablation.check(planned(place, grid))


def test_another_recipe_is_refused(place: Path, ablation: AblationFolder):
    other = make_plan(Base(str(place / "tiny.yaml"), ["model.cutoff=3.5"]), GRID, Trials())
    with pytest.raises(InputError, match=r"another ablation: model.cutoff of run none-s0 differ"):
        ablation.check(other)


def test_one_grid_at_a_time(ablation: AblationFolder):
    first, second = ablation.new_lock(), ablation.new_lock()
    ablation.take(first)
    with pytest.raises(InputError, match=r"is in use by process .* another folder with --output"):
        second.check()
    first.release()


def test_a_run_says_how_far_it_is(ablation: AblationFolder):
    assert ablation.state("vertex-s0") == "missing"
    ablation.run("vertex-s0").path.mkdir(parents=True)
    ablation.run("vertex-s0").recipe.touch()
    assert ablation.state("vertex-s0") == "started"
    ablation.write_status("vertex-s0", Status(2, 3.0, "the disk is full"))
    assert ablation.state("vertex-s0") == "failed"
    ablation.write_status("vertex-s0", Status(0, 3.0))
    assert ablation.state("vertex-s0") == "started"  # someone has removed its results
    ablation.run("vertex-s0").results.touch()
    ablation.run("vertex-s0").frame_errors.touch()
    assert ablation.state("vertex-s0") == "finished"


def test_another_folder_has_no_plan(tmp_path: Path):
    with pytest.raises(InputError, match=r"is no ablation's folder: it has no plan.json"):
        AblationFolder(tmp_path).read_plan()
    (tmp_path / "plan.json").write_text("[]")
    with pytest.raises(InputError, match=r"does not hold the plan of an ablation"):
        AblationFolder(tmp_path).read_plan()
