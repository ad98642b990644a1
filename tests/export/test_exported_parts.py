"""What an export does besides running machine code: types, relations, sums over edges."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import hermnet
import structures
from checkpoints import package, save_potential
from hermnet import cli, memory
from hermnet.derivatives import edge_vectors
from hermnet.errors import InputError
from hermnet.export.compiling import describe_export, deviation
from hermnet.export.core import core_program, kernels_of
from hermnet.export.exported import ExportedPotential
from hermnet.neighbors import graph_from_atoms

ELEMENTS = (1, 6, 7, 8, 16)
HYBRID = {"default": "schnet", "O": {"name": "painn"}}


@pytest.mark.slow
def test_relations_of_several_sub_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The traced program stands in for its machine code, which takes a minute to make."""
    checkpoint = save_potential(
        tmp_path / "best.ckpt",
        ELEMENTS,
        relations="vertex",
        subnet=HYBRID,
        n_layers=1,
    )
    potential = hermnet.load_potential(checkpoint).requires_grad_(False)
    about = describe_export(checkpoint, potential)
    assert about.parts == ((0, 1, 2, -1, 3), (-1, -1, -1, 0, -1))
    program = core_program(potential).module()
    monkeypatch.setattr("hermnet.export.exported._loaded", lambda *_: program)
    exported = ExportedPotential(package(about))
    assert exported.description == about
    for seed, n_atoms in ((1, 12), (2, 25)):
        graph = graph_from_atoms(structures.mixture(seed, n_atoms), potential.cutoff)
        found, expected = exported(graph), potential(graph)
        for name in ("energy", "atomic_energies", "forces"):
            one, other = getattr(found, name), getattr(expected, name)
            torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "options",
    [
        {"relations": "none"},
        {"relations": "none", "subnet": "schnet"},
        {"relations": "pair", "sharing": "shared"},
        {"relations": "vertex", "heterogeneity": "update", "zbl": True},
        {"relations": "triadic", "heterogeneity": "filters"},
    ],
    ids=str,
)
@pytest.mark.slow
def test_sources_of_several_relations(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Also where layers on sources know no relations, and where some atoms send nothing."""
    path = save_potential(tmp_path / "best.ckpt", ELEMENTS, n_layers=1, **options)
    potential = hermnet.load_potential(path).requires_grad_(False)
    program = core_program(potential)
    assert kernels_of(program), "the file would be slow"
    module = program.module()
    monkeypatch.setattr("hermnet.export.exported._loaded", lambda *_: module)
    exported = ExportedPotential(package(describe_export(path, potential)))
    assert deviation(exported, potential) < 1e-10
    graph = graph_from_atoms(structures.mixture(1, 12), potential.cutoff)
    torch.testing.assert_close(exported(graph).forces, potential(graph).forces, rtol=0, atol=1e-12)
    weights = torch.arange(12, dtype=torch.float64) % 2
    vectors = edge_vectors(graph).requires_grad_()
    energies = potential.atomic_energies(vectors, potential.two_way_indices(graph))
    (expected,) = torch.autograd.grad(torch.dot(energies, weights), vectors)
    _, found = exported.evaluate(vectors.detach(), exported.indices(graph), weights)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.slow
def test_operators_of_torch_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = save_potential(tmp_path / "best.ckpt", ELEMENTS, n_layers=1, relations="vertex")
    potential = hermnet.load_potential(path).requires_grad_(False)
    program = core_program(potential, fused=False)
    assert kernels_of(program) == ()
    module = program.module()
    monkeypatch.setattr("hermnet.export.exported._loaded", lambda *_: module)
    exported = ExportedPotential(package(describe_export(path, potential)))
    assert deviation(exported, potential) < 1e-10


def test_kernels_that_cannot_be_had_are_missed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = save_potential(tmp_path / "best.ckpt", ELEMENTS, n_layers=1)
    about = replace(describe_export(path, hermnet.load_potential(path)), kernels=("message",))
    monkeypatch.setattr("hermnet.export.exported._loaded", lambda *_: None)
    assert ExportedPotential(package(about)).description.kernels == ("message",)
    monkeypatch.setattr("hermnet.export.exported.library", lambda name: None)
    message = r"best.pt2 calls kernels of hermnet .* C\+\+ compiler .* export it with --plain"
    with pytest.raises(InputError, match=message):
        ExportedPotential(package(about), "best.pt2")


@pytest.mark.slow
def test_its_calculator_warns_and_refuses_like_a_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    checkpoint = save_potential(tmp_path / "best.ckpt", (8, 22, 56), relations="pair")
    potential = hermnet.load_potential(checkpoint).requires_grad_(False)
    about = describe_export(checkpoint, potential)
    about.relations.update(dict.fromkeys(about.relations, 5000) | {"Ti-O": 3})
    program = core_program(potential).module()
    monkeypatch.setattr("hermnet.export.exported._loaded", lambda *_: program)
    file = checkpoint.with_suffix(".pt2")
    file.write_bytes(package(about))
    atoms = structures.crystal() * (4, 4, 4)
    atoms.calc = hermnet.HermNetCalculator(file)
    with pytest.warns(UserWarning, match=r"hardly saw .* has: Ti-O \(3 edges\); energies"):
        energy = atoms.get_potential_energy()
    atoms.rattle(0.5, seed=1)
    atoms.get_potential_energy()  # said once; a warning would be an error here
    monkeypatch.setattr(memory, "MANY_EDGES", 100)
    monkeypatch.setattr(memory, "free_bytes", lambda _: 1e6)
    atoms = structures.crystal() * (4, 4, 4)
    about.relations["Ti-O"] = 5000
    file.write_bytes(package(about))
    atoms.calc = hermnet.HermNetCalculator(file)
    with pytest.raises(InputError, match=r"320 atoms and [\d,]+ edges needs about \d.\d GiB, of"):
        atoms.get_potential_energy()
    monkeypatch.setattr(memory, "free_bytes", lambda _: 1e9)
    assert atoms.get_potential_energy() == energy


def test_inspect_runs_nothing_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    checkpoint = save_potential(tmp_path / "best.ckpt", (1, 8), relations="pair")
    about = describe_export(checkpoint, hermnet.load_potential(checkpoint))
    (tmp_path / "best.pt2").write_bytes(package(about))
    assert cli.main(["inspect", str(tmp_path / "best.pt2")]) == 0
    printed = capsys.readouterr().out
    for line in (
        "compiled for: cpu, ",
        "elements: H, O",
        "cutoff: 3 A, 2 layers",
        "forces (eV/A)",
        "  H-O  unknown",
        "    relations: pair",
    ):
        assert line in printed
    assert cli.main(["inspect", "nothing.pt2"]) == 2
    assert "error: there is no exported potential nothing.pt2" in capsys.readouterr().err
