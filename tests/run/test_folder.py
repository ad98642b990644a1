from __future__ import annotations

from pathlib import Path

import pytest

from hermnet.errors import InputError
from hermnet.host.lock import Lock
from hermnet.run.folder import RunFolder, recipe_of


def listing(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def prepare(folder: RunFolder, resume: bool) -> None:
    lock = Lock(folder.lock)
    folder.prepare(resume, lock)
    lock.release()


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A finished run, resumed eleven times, beside a file of the user's."""
    folder = RunFolder(tmp_path / "run")
    folder.checkpoints.mkdir(parents=True)
    own = [folder.recipe, folder.best, folder.last, folder.results]
    own += [folder.learning_curve, folder.parity, folder.predictions]
    own += [folder.element_errors, folder.element_errors_picture]
    for start in range(12):
        own += [folder.csv_log(start) / "metrics.csv", folder.tensorboard_log(start) / "events"]
    for path in own:
        path.parent.mkdir(exist_ok=True)
        path.write_text(path.name)
    (folder.path / "notes.txt").write_text("mine")
    (folder.path / "csv_old").mkdir()
    (folder.path / "csv_old" / "metrics.csv").write_text("mine too")
    return folder


def test_where_a_run_lies():
    assert RunFolder.of("water", {}).path == Path("runs/water")
    assert RunFolder.of("water", {"default_root_dir": None}).path == Path("runs/water")
    assert RunFolder.of("water", {"default_root_dir": "elsewhere"}).path == Path("elsewhere")


def test_logs_are_in_the_order_of_time(run: RunFolder):
    assert run.n_starts() == 12
    names = [path.parent.name for path in run.metrics()]
    assert names == [f"csv_{start}" for start in range(12)]
    assert RunFolder(run.path / "other").n_starts() == 0


def test_a_start_without_a_csv_log_counts(tmp_path: Path):
    folder = RunFolder(tmp_path)
    folder.tensorboard_log(0).mkdir()
    assert folder.n_starts() == 1
    assert folder.metrics() == []


def test_the_best_checkpoint_else_the_last(run: RunFolder):
    assert run.usable_checkpoint() == run.best
    run.best.unlink()
    assert run.usable_checkpoint() == run.last
    run.last.unlink()
    with pytest.raises(InputError, match=r"no checkpoint in .*run.checkpoints; run `hermnet fit`"):
        run.usable_checkpoint()


def test_another_run_is_not_touched(run: RunFolder):
    before = listing(run.path)
    with pytest.raises(InputError, match=r"holds a run already: .*--resume.*--overwrite"):
        run.check(overwrite=False, resume=False)
    with pytest.raises(InputError, match="--resume or --overwrite, not both"):
        run.check(overwrite=True, resume=True)
    run.check(overwrite=True, resume=False)
    run.check(overwrite=False, resume=True)
    assert listing(run.path) == before


def test_a_recipe_without_checkpoints_is_not_touched_either(tmp_path: Path):
    folder = RunFolder(tmp_path)
    folder.recipe.write_text("the user's own")
    with pytest.raises(InputError, match="holds a run already"):
        folder.check(overwrite=False, resume=False)


def test_other_files_in_the_folder_do_not_matter(tmp_path: Path):
    (tmp_path / "train.xyz").write_text("data")
    folder = RunFolder(tmp_path)
    folder.check(overwrite=False, resume=False)
    prepare(folder, resume=False)
    assert folder.checkpoints.is_dir()
    assert listing(tmp_path) == {"train.xyz": b"data"}


def test_overwriting_removes_the_run_and_nothing_else(run: RunFolder):
    prepare(run, resume=False)
    assert listing(run.path) == {"notes.txt": b"mine", "csv_old/metrics.csv": b"mine too"}
    assert run.checkpoints.is_dir()


def test_resuming_removes_nothing(run: RunFolder):
    before = listing(run.path)
    prepare(run, resume=True)
    assert listing(run.path) == before


def test_a_discarded_run_leaves_no_folder(tmp_path: Path):
    folder = RunFolder(tmp_path / "run")
    prepare(folder, resume=False)
    folder.recipe.write_text("x")
    folder.discard()
    assert not folder.path.exists()
    folder.path.mkdir()
    (folder.path / "notes.txt").write_text("mine")
    prepare(folder, resume=False)
    folder.discard()
    assert listing(folder.path) == {"notes.txt": b"mine"}


def test_a_file_where_the_folder_should_be(tmp_path: Path):
    (tmp_path / "runs").write_text("a file")
    for folder in (RunFolder(tmp_path / "runs"), RunFolder(tmp_path / "runs" / "a" / "b")):
        with pytest.raises(InputError, match=r"cannot be .*: .*runs is a file"):
            folder.check(overwrite=False, resume=False)
        with pytest.raises(InputError, match="cannot write to"):
            prepare(folder, resume=False)


def test_a_folder_that_is_no_run(tmp_path: Path):
    with pytest.raises(InputError, match=r"is no run's folder: it has no recipe.yaml"):
        recipe_of(str(tmp_path))
    with pytest.raises(InputError, match=r"there is no folder .*/none"):
        recipe_of(str(tmp_path / "none"))
