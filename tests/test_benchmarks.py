"""The benchmarks run, and what they compare is comparable."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from programs import FOLDER, run

import tiny
from hermnet.kernels.library import library
from hermnet.model_options import ModelOptions
from hermnet.potential import Potential
from hermnet.recipes.config import resolve


@pytest.mark.parametrize("relations", ["vertex", "triadic"])
def test_loop_and_one_pass_have_the_same_energy_and_forces(
    monkeypatch: pytest.MonkeyPatch, relations: str
):
    monkeypatch.syspath_prepend(str(FOLDER))
    from loop import loop_over
    from systems import alloy

    graph = alloy(3)
    assert graph.n_atoms == 216
    assert len(graph.atomic_numbers.unique()) == 3
    options = ModelOptions(relations=relations, n_channels=8, n_layers=2)
    elements = tuple(graph.atomic_numbers.unique().tolist())
    one, other = Potential(options, elements, 40.0), Potential(options, elements, 40.0)
    other.load_state_dict(one.state_dict())
    loop_over(other)
    assert one.relation_labels == other.relation_labels
    sizes = [sum(p.numel() for p in potential.parameters()) for potential in (one, other)]
    assert sizes[0] == sizes[1]
    with torch.no_grad():
        expected, found = one(graph), other(graph)
    torch.testing.assert_close(found.energy, expected.energy, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.forces, expected.forces, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_relations(tmp_path: Path):
    output = tmp_path / "results" / "relations.json"
    lines = run("relations.py", output, "--elements", "1", "2", "--clock", "process")
    assert re.fullmatch(r"2 elements: one-pass/none \d+\.\d\d loop/none \d+\.\d\d", lines[-1])
    found = json.loads(output.read_text(encoding="utf-8"))
    assert found["machine"]["threads"] == 1
    assert found["machine"]["cpu"]
    assert found["machine"]["versions"]["torch"] == version("torch")
    assert set(found["elements"]) == {"1", "2"}
    for task in ("training step", "energy+forces"):
        variants = found["elements"]["2"][task]
        assert set(variants) == {"none", "one-pass", "loop", "basis:4", "filters", "update"}
        assert variants["none"]["ratio"] == 1.0
        assert all(variant["seconds"] > 0 for variant in variants.values())


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled(tmp_path: Path):
    output = tmp_path / "compiled.json"
    lines = run("compiled.py", output, "--subnet", "schnet", "--relations", "none")
    assert lines[0] == "10 ethanols, 720 edges, schnet, none"
    found = json.loads(output.read_text(encoding="utf-8"))
    losses = found["losses"]
    assert len(losses["eager"]) == len(losses["compiled"]) == 20
    assert losses["compiled"] == pytest.approx(losses["eager"], rel=1e-3)
    assert losses["eager"][-1] < losses["eager"][0]
    assert found["training step"]["eager/compiled"] > 0


@pytest.mark.slow
def test_scaling(tmp_path: Path):
    output = tmp_path / "scaling.json"
    lines = run("scaling.py", output, "--processes", "2", "--frames", "4")
    assert [line.split("|")[1:4] for line in lines[-4:]] == [
        [" strong ", " 1 ", " 4 "],
        [" strong ", " 2 ", " 2 "],
        [" weak ", " 1 ", " 4 "],
        [" weak ", " 2 ", " 4 "],
    ]
    found = json.loads(output.read_text(encoding="utf-8"))["processes"]
    for by_kind in found.values():
        for row in by_kind.values():
            assert 0 < row["step"] <= row["compute"] + row["communication"] + 1e-9
    assert found["1"]["strong"]["efficiency"] == 1.0


def test_traffic_of_a_product_is_counted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(FOLDER / "peers"))
    from counting import Traffic

    a, b = torch.rand(4, 3), torch.rand(3, 5)
    with Traffic() as traffic:
        product = a @ b
        product.t().sum().item()
    assert traffic.flops == 2 * 4 * 3 * 5
    assert traffic.calls == 3
    assert traffic.bytes == 4 * (12 + 15 + 20) + 4 * (20 + 1) + 4
    assert traffic.looks == {"_local_scalar_dense": 1}


@pytest.mark.slow
def test_data(tmp_path: Path):
    rng = np.random.default_rng(0)
    line = 1.4 * np.arange(21)[:, None] * np.ones(3) / np.sqrt(3)
    arrays = {
        "nuclear_charges": np.array([6] * 9 + [1] * 8 + [8] * 4),
        "coords": line + rng.normal(scale=0.02, size=(1000, 21, 3)),
        "energies": rng.normal(size=1000),
        "forces": rng.normal(size=(1000, 21, 3)),
    }
    for part in ("train", "test"):
        np.savez(tmp_path / f"rmd17_aspirin_{part}_01.npz", **arrays)
    output = tmp_path / "data.json"
    few = ("--frames", "400", "--batch-size", "8", "--workers", "1", "--folder", str(tmp_path))
    run("data.py", output, "--root", str(tmp_path), *few)
    found = json.loads(output.read_text(encoding="utf-8"))
    assert found["reading"]["frames"] == 20 * 2 * 8
    assert found["reading"]["edges_per_frame"] == pytest.approx(21 * 6 - 12, abs=1)
    assert found["reading"]["frames_per_second"] > 0
    assert 0 < found["latency_us"]["median"] <= found["latency_us"]["p99"]
    (worker,) = found["reading"]["memory_of_workers"]
    assert 0 < worker["pss"] <= worker["rss"]
    assert not list(tmp_path.rglob("*.aselmdb"))


def test_every_case_is_a_recipe(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    from cases import cases

    found = {case.name: resolve(case.config, case.overrides) for case in cases("folder")}
    assert len(found) == 36
    for name, recipe in found.items():
        assert "folder" in str(recipe.data), name
    assert {"rmd17_toluene", "mlearn_Ge", "qm9_r2", "heo"} < set(found)


@pytest.mark.slow
def test_a_case_and_its_table(tmp_path: Path):
    frames = [tiny.alloy(seed) for seed in range(4)]
    (tmp_path / "alloys").mkdir()
    folder = tmp_path / "results"
    options = ["--root", str(tmp_path), "--minutes", "0.02", "--only", "hea"]
    numbers = np.concatenate([atoms.numbers for atoms in frames])
    np.savez(
        tmp_path / "alloys" / "hea_cocrfemnni_rand2_20.npz",
        n_atoms=[len(atoms) for atoms in frames],
        numbers=numbers,
        positions=np.concatenate([atoms.positions for atoms in frames]),
        energy=[atoms.get_potential_energy() for atoms in frames],
        forces=np.concatenate([atoms.get_forces() for atoms in frames]),
        cell=[atoms.cell.array for atoms in frames],
        pbc=[atoms.pbc for atoms in frames],
        split=["train", "train", "train", "test"],
        format="packed-frames-1",
    )
    lines = run("cases.py", folder, *options)
    found = json.loads((folder / "hea.json").read_text(encoding="utf-8"))
    assert found["frames"] == {"train": 3, "test": 1}
    assert found["elements"] == ["Cu", "Au"]
    assert lines[-1].startswith("| hea | 3 + 1 | Cu Au |")
    forces = found["errors"]["test"]["forces_mae"]
    assert f"forces {forces:.3g} meV/A" in lines[-1]
    # a case with a result is not run again
    assert run("cases.py", folder, *options)[-1] == lines[-1]


@pytest.mark.slow
def test_steps_of_molecular_dynamics(tmp_path: Path):
    output = tmp_path / "md.json"
    run("md.py", output, "--only", "eager|MACE", "--atoms", "8", "64", "--clock", "process")
    found = json.loads(output.read_text(encoding="utf-8"))
    assert found["refused"] == {"MACE": "no environment given"}
    small, large = (found["atoms"][n]["hermnet painn eager"]["seconds"] for n in ("8", "64"))
    assert len(small) == len(large) == 1
    assert min(small + large) > 0


def test_the_page_of_simulations_is_that_of_its_numbers(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    from md_page import PAGE, page

    assert PAGE.read_text(encoding="utf-8") == page()


def test_kernels_of_a_gpu_need_one(tmp_path: Path):
    command = [sys.executable, str(FOLDER / "gpu_kernels.py"), "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "device cpu: kernels in Triton need a GPU of CUDA\n"


@pytest.mark.skipif(library("message") is None, reason="there is no C++ compiler")
def test_kernels_of_a_gpu_and_what_they_are_compared_with_agree(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    from gpu_kernels import cases
    from systems import silicon

    names = set()
    for case in cases(silicon(1), 4):
        torch.testing.assert_close(case.run(), case.plain(*case.arguments), rtol=1e-4, atol=1e-4)
        assert case.compulsory_bytes() > 0
        names.add(case.name)
    assert len(names) == 7
