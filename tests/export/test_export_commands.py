"""Mistakes about `hermnet export`: found before anything is compiled, one line each."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import hermnet
import properties
from checkpoints import save_model, save_potential
from hermnet import cli
from hermnet.errors import InputError
from hermnet.export.core import core_inputs, core_program, example


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return save_potential(tmp_path / "best.ckpt", (1, 8))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("export nothing.ckpt", "there is no checkpoint nothing.ckpt"),
        ("export foreign.ckpt", "foreign.ckpt is truncated, damaged or no checkpoint at all"),
        ("export gap.ckpt", "gap.ckpt holds a model of u0 (readout scalar), which has no energy"),
        ("export best.ckpt --format pt", "--format: unknown 'pt'; did you mean 'pt2'?"),
        ("export best.ckpt --output best.so", "--output: the name of a pt2 file ends with .pt2"),
        ("export best.ckpt --output a/best.pt2", "--output: there is no folder a"),
        ("export best.ckpt --output old.pt2", "old.pt2 is there already: give --overwrite or"),
        ("export best.ckpt --dtype float16", "float16"),
        ("export best.ckpt --threads 0", "--threads must be at least 1, not 0"),
        ("export best.ckpt model.cutoff=3", "unexpected 'model.cutoff=3'; see hermnet export --he"),
        ("export best.ckpt --fromat pt2", "unknown option '--fromat'; did you mean '--format'?"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    checkpoint: Path, capsys: pytest.CaptureFixture[str], line: str, message: str
):
    save_model(Path("gap.ckpt"), properties.random_model("sum"))
    Path("foreign.ckpt").write_text("no checkpoint")
    Path("old.pt2").write_text("older")
    before = {path.name for path in Path().iterdir()}
    assert cli.main(line.split()) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("error: ")
    assert printed.count("\n") == 1
    assert message in printed
    assert {path.name for path in Path().iterdir()} == before
    assert Path("old.pt2").read_text() == "older"


@pytest.mark.parametrize("name", ["no such.pt2", "text.pt2", "checkpoint.pt2"])
def test_files_that_are_no_export(checkpoint: Path, name: str):
    Path("text.pt2").write_text("no export")
    checkpoint.rename("checkpoint.pt2")
    message = "there is no exported potential no such.pt2"
    if name != "no such.pt2":
        message = f"{name} is no exported potential of HermNet; hermnet export makes one"
    with pytest.raises(InputError, match=message):
        hermnet.HermNetCalculator(name)


def test_plain_is_passed_on(checkpoint: Path, monkeypatch: pytest.MonkeyPatch):
    given: list[bool] = []

    def program(potential: hermnet.Potential, fused: bool) -> None:
        given.append(fused)
        raise InputError("enough")

    monkeypatch.setattr("hermnet.export.compiling.core_program", program)
    for words in ([], ["--plain"]):
        assert cli.main(["export", "best.ckpt", *words]) == 2
    assert given == [True, False]


def test_no_compiler_is_one_line(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    from torch._inductor.exc import InvalidCxxCompiler

    def refuse(*_: object, **__: object) -> None:
        raise InvalidCxxCompiler

    monkeypatch.setattr("torch._inductor.aoti_compile_and_package", refuse)
    monkeypatch.setattr("hermnet.export.compiling.core_program", lambda *_, **__: None)
    monkeypatch.setattr("hermnet.export.compiling.kernels_of", lambda _: ())
    assert cli.main(["export", "best.ckpt"]) == 2
    assert capsys.readouterr().err == (
        "error: to export needs a C++ compiler such as g++; install one, or name it in CXX\n"
    )


def test_the_example_has_all_elements_and_no_equal_sizes():
    graph = example((1, 6, 7, 8, 16, 26, 78), 4.0)
    assert set(graph.atomic_numbers.tolist()) == {1, 6, 7, 8, 16, 26, 78}
    pairs = set(zip(graph.centers.tolist(), graph.neighbors.tolist(), strict=True))
    assert any((j, i) not in pairs for i, j in pairs), "edges in one direction only"
    assert graph.n_atoms - 1 not in graph.neighbors


@pytest.mark.slow
def test_the_program_is_the_potential_for_every_size(checkpoint: Path):
    potential = hermnet.load_potential(checkpoint).requires_grad_(False)
    program = core_program(potential).module()
    for cutoff in (3.0, 5.0):  # more edges than it was traced with
        graph = example((1, 8, 1), cutoff)
        energies, gradient = program(*core_inputs(potential, graph))
        expected = potential(graph)
        torch.testing.assert_close(energies, expected.atomic_energies, rtol=0, atol=1e-12)
        assert gradient.shape == (graph.n_edges, 3)
