from __future__ import annotations

from pathlib import Path

import pytest

import hermnet
import tiny
from ablations import started
from hermnet.ablation.execution import RunTask, _arguments
from hermnet.ablation.folder import AblationFolder, Status
from hermnet.ablation.grid import Grid
from hermnet.run.commands import plot


@pytest.fixture(scope="module")
def ablation(tmp_path_factory: pytest.TempPathFactory) -> AblationFolder:
    return started(tmp_path_factory.mktemp("execution"), Grid({"model.relations": ["none"]}))


@pytest.mark.filterwarnings("ignore:relations with few training edges")
def test_a_run_goes_on_where_it_was(ablation: AblationFolder):
    run = ablation.run("none-s0")
    assert _arguments(ablation, "none-s0")[::5] == ["fit"]
    assert _arguments(ablation, "none-s0")[-1] == "--overwrite"
    where = f"trainer.default_root_dir={run.path}"
    half = hermnet.resolve(str(ablation.recipe("none-s0")), [where, "trainer.max_epochs=1"])
    hermnet.fit(half)
    assert _arguments(ablation, "none-s0")[-1] == "--resume"
    whole = hermnet.resolve(str(ablation.recipe("none-s0")), [where])
    hermnet.fit(whole, resume="last")
    run.results.unlink()  # as if it had been killed before
    assert _arguments(ablation, "none-s0")[0] == "plot"
    plot(whole)
    assert run.results.is_file()


def test_a_finished_run_is_left_alone(ablation: AblationFolder):
    ablation.write_status("none-s0", Status(0, 5.0))
    assert RunTask(str(ablation.path), 1)("none-s0") == Status(0, 5.0)
    assert not ablation.log("none-s0").exists()


def test_a_recipe_of_a_run_is_that_of_fit(ablation: AblationFolder, tmp_path: Path):
    recipe = hermnet.resolve(str(ablation.recipe("none-s0")))
    assert recipe.name == "none-s0"
    assert recipe.model == tiny.recipe(tmp_path, tmp_path, "model.relations=none").model
