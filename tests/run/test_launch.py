"""Runs in several processes, however they are started, are those of one process."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ddp
import tiny
from hermnet.errors import InputError
from hermnet.run import commands as runs

TOGETHER = 4  # frames of a step
STOPPING = "{class_path: pytorch_lightning.callbacks.EarlyStopping, monitor: val_forces_mae}"
QUICK = (
    "model.dtype=float64",
    "data.eval_batch_size=1",
    "training.optimizer.lr=0.1",
    "trainer.max_epochs=8",
    f"trainer.callbacks=[{STOPPING[:-1]}, patience: 0}}]",
)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("launch")
    return tiny.recipe_file(folder, tiny.data(folder / "data"))


@pytest.fixture(scope="module")
def alone(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run in one process."""
    folder = tmp_path_factory.mktemp("alone")
    command = ("fit", "--config", str(recipe), *QUICK, f"data.batch_size={TOGETHER}")
    ((code, _, errors),) = ddp.answers([ddp.hermnet(*command, *into(folder))])
    assert code == 0, errors
    return folder


@pytest.fixture
def busy_port() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield int(other.getsockname()[1])


def into(folder: Path) -> list[str]:
    return [f"trainer.default_root_dir={folder}"]


def assert_same_run(folder: Path, other: Path) -> None:
    """The same files, and the same errors to 1e-12."""
    found, expected = (
        json.loads((path / "results.json").read_text(encoding="utf-8")) for path in (folder, other)
    )
    assert found.keys() == expected.keys()
    for split, errors in expected.items():
        assert found[split] == pytest.approx(errors, rel=1e-12)
    names = [
        {p.relative_to(path).parts[0] for p in path.rglob("*") if p.is_file()}
        for path in (folder, other)
    ]
    assert names[0] == names[1]


def assert_one_speaks(answers: list[Any]) -> None:
    """Every process has ended well, and the tables of errors are there once."""
    assert [code for code, _, _ in answers] == [0] * len(answers), answers
    printed = "".join(out for _, out, _ in answers)
    assert printed.count("errors of the best checkpoint") == 1
    assert printed.count("max_epochs") == 1


def assert_refused(answer: Any, message: str) -> None:
    """Exit code 2 and one line."""
    code, _, errors = answer
    assert code == 2, answer
    lines = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, lines
    assert message in lines[0]
    assert "Traceback" not in errors


def test_a_port_in_use_is_named_before_anything_starts(
    recipe: Path, busy_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MASTER_PORT", str(busy_port))
    several = tiny.recipe(tmp_path, recipe.parent / "data", "trainer.devices=2")
    with pytest.raises(InputError, match=rf"port {busy_port} of \S+ is in use; .* MASTER_PORT"):
        runs.fit(several)
    assert not (tmp_path / "run").exists()


def test_an_accelerator_that_is_not_there(recipe: Path, tmp_path: Path):
    several = tiny.recipe(
        tmp_path, recipe.parent / "data", "trainer.devices=2", "trainer.accelerator=tpu"
    )
    with pytest.raises(InputError, match="trainer: "):
        runs.fit(several)
    assert not (tmp_path / "run").exists()


def test_processes_that_do_not_start_as_this_one_did(recipe: Path, tmp_path: Path):
    several = ("trainer.devices=2", "trainer.strategy=ddp_spawn")
    with pytest.raises(InputError, match=r"trainer.strategy: .* only 'ddp' is supported"):
        runs.fit(tiny.recipe(tmp_path, recipe.parent / "data", *several))
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_processes_started_by_the_first(recipe: Path, alone: Path, tmp_path: Path):
    command = ("fit", "--config", str(recipe), *QUICK, *into(tmp_path), "trainer.devices=2")
    answers = ddp.answers([ddp.hermnet(*command, f"data.batch_size={TOGETHER // 2}")])
    assert_one_speaks(answers)
    assert_same_run(tmp_path, alone)
    more = ("--resume", "trainer.max_epochs=9", "trainer.callbacks=null")
    ((code, out, errors),) = ddp.answers([ddp.hermnet(*command, *more)])
    assert code == 0, errors
    assert out.count("errors of the best checkpoint") == 1


@pytest.mark.slow
def test_two_nodes_of_torchrun(tmp_path: Path):
    few = ("data.n_train=7", "data.n_val=3", "data.n_test=5", "trainer.max_epochs=2")
    small = (
        "model.dtype=float64",
        "model.n_channels=4",
        "model.n_layers=1",
        "trainer.accelerator=cpu",
    )
    fit = ("fit", "--config", "quickstart", *few, *small)
    port = str(ddp.free_port())
    nodes = [
        ddp.start(
            *("-m", "torch.distributed.run", "--nnodes", "2", "--node_rank", str(node)),
            *("--nproc_per_node", "1", "--master_addr", "127.0.0.1", "--master_port", port),
            *("-m", "hermnet.cli", *fit, *into(tmp_path / "two"), "data.batch_size=2"),
        )
        for node in range(2)
    ]
    one = ddp.hermnet(*fit, *into(tmp_path / "one"), "data.batch_size=4")
    assert_one_speaks(ddp.answers(nodes))
    assert ddp.answers([one])[0][0] == 0
    assert_same_run(tmp_path / "two", tmp_path / "one")


@pytest.mark.slow
def test_two_nodes_of_slurm(recipe: Path, alone: Path, tmp_path: Path):
    """What srun tells its tasks, with two of them on this machine."""
    job = {
        "SLURM_JOB_ID": "4711",
        "SLURM_JOB_NAME": "fit",
        "SLURM_NODELIST": "127.0.0.1",
        "SLURM_NNODES": "2",
        "SLURM_NTASKS": "2",
        "SLURM_NTASKS_PER_NODE": "1",
        "SLURM_LOCALID": "0",
        "MASTER_PORT": str(ddp.free_port()),
    }
    command = ("fit", "--config", str(recipe), *QUICK, *into(tmp_path), "trainer.num_nodes=2")
    tasks = [
        ddp.hermnet(
            *(*command, "trainer.devices=1", f"data.batch_size={TOGETHER // 2}"),
            **{**job, "SLURM_PROCID": str(task), "SLURM_NODEID": str(task)},
        )
        for task in range(2)
    ]
    assert_one_speaks(ddp.answers(tasks))
    assert_same_run(tmp_path, alone)


@pytest.mark.slow
def test_bad_input_is_one_line(recipe: Path, tmp_path: Path):
    fit = ("fit", "--config", str(recipe), "trainer.devices=2", *into(tmp_path / "run"))
    one = tiny.write(tmp_path / "one.xyz", [tiny.methanol(0)])
    for options, message in {
        ("data.train=nowhere.xyz",): "train: no file 'nowhere.xyz'",
        (f"data.train={one}",): "2 processes are more than the 1 training frames",
        ("data.val=null", "training.forces_weight=0", "training.stress_weight=1"): "stress",
    }.items():
        assert_refused(ddp.answers([ddp.hermnet(*fit, *options)])[0], message)
        assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_bad_input_of_one_node_ends_all(recipe: Path, tmp_path: Path):
    data = tiny.data(tmp_path / "data")
    port = str(ddp.free_port())
    (tmp_path / "other").mkdir()
    tiny.write(tmp_path / "other" / "train.xyz", [tiny.methanol(seed) for seed in range(40, 48)])
    nodes = [
        ddp.start(
            *("-m", "torch.distributed.run", "--nnodes", "2", "--node_rank", str(node)),
            *("--nproc_per_node", "1", "--master_addr", "127.0.0.1", "--master_port", port),
            *("-m", "hermnet.cli", "fit", "--config", str(recipe), *into(tmp_path / "run")),
            f"data.train={folder / 'train.xyz'}",
        )
        for node, folder in enumerate((data, tmp_path / "other"))
    ]
    answers = ddp.answers(nodes)
    assert all(code != 0 for code, _, _ in answers)
    said = [line for _, _, errors in answers for line in errors.splitlines()]
    assert sum("error: process 1 reads other data than process 0" in line for line in said) == 1
    assert not (tmp_path / "run").exists()
