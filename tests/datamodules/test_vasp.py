"""VASP's files: written here in its layout, and read back with units and signs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.io import write

import tiny
from hermnet.datamodules.vasp import VASP
from hermnet.errors import InputError

LABELS = ["energy", "forces", "stress"]
FRAMES = [tiny.alloy(seed) for seed in range(3)]
ZERO_SMEARING = 0.25  # eV by which the energy at zero smearing is above the free energy


def rows(values: np.ndarray, tag: str = "v") -> str:
    return "".join(f"<{tag}>{' '.join(f'{x:.10f}' for x in row)}</{tag}>" for row in values)


def step(atoms: Atoms) -> str:
    """One ionic step; VASP's stress is in kbar and positive where the cell is compressed."""
    energy = atoms.get_potential_energy()
    kbar = -atoms.get_stress(voigt=False) / (units.GPa / 10)
    energies = (
        f'<energy><i name="e_fr_energy">{energy:.8f}</i>'
        f'<i name="e_wo_entrp">{energy + 2 * ZERO_SMEARING:.8f}</i>'
        f'<i name="e_0_energy">{energy + ZERO_SMEARING:.8f}</i></energy>'
    )
    return (
        f"<calculation><scstep>{energies}</scstep>"
        f'<structure><crystal><varray name="basis">{rows(atoms.cell.array)}</varray></crystal>'
        f'<varray name="positions">{rows(atoms.get_scaled_positions())}</varray></structure>'
        f'<varray name="forces">{rows(atoms.get_forces())}</varray>'
        f'<varray name="stress">{rows(kbar)}</varray>{energies}</calculation>\n'
    )


def vasprun(path: Path, frames: list[Atoms] = FRAMES) -> Path:
    atoms = frames[0]
    names = "".join(f"<rc><c>{s}</c><c>1</c></rc>" for s in atoms.get_chemical_symbols())
    start = (
        f'<structure name="initialpos"><crystal><varray name="basis">{rows(atoms.cell.array)}'
        f'</varray></crystal><varray name="positions">{rows(atoms.get_scaled_positions())}'
        "</varray></structure>"
    )
    text = (
        '<?xml version="1.0"?>\n<modeling><generator><i name="version">6.4.2</i></generator>'
        '<kpoints><varray name="kpointlist"><v>0 0 0</v></varray>'
        '<varray name="weights"><v>1</v></varray></kpoints>'
        f'<atominfo><atoms>{len(atoms)}</atoms><array name="atoms"><set>{names}</set></array>'
        f"</atominfo>{start}{''.join(step(frame) for frame in frames)}</modeling>\n"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def read(path: Path, **options) -> list:
    return list(VASP(train=str(path), **{"labels": LABELS, **options}).read()["train"])


def test_a_vasprun_in_the_models_units(tmp_path: Path):
    graphs = read(vasprun(tmp_path / "vasprun.xml"))
    assert len(graphs) == len(FRAMES)
    for atoms, graph in zip(FRAMES, graphs, strict=True):
        np.testing.assert_array_equal(graph.atomic_numbers, atoms.numbers)
        np.testing.assert_allclose(graph.cell[0], atoms.cell.array, atol=1e-8)
        np.testing.assert_allclose(graph.energy, atoms.get_potential_energy(), atol=1e-7)
        np.testing.assert_allclose(graph.forces, atoms.get_forces(), atol=1e-8)
        np.testing.assert_allclose(graph.stress[0], atoms.get_stress(voigt=False), atol=1e-8)


def test_the_energy_is_the_free_energy_unless_another_is_named(tmp_path: Path):
    path = vasprun(tmp_path / "vasprun.xml")
    (free, *_), (zero, *_) = read(path), read(path, keys={"energy": "energy"})
    assert float(zero.energy - free.energy) == pytest.approx(ZERO_SMEARING)


def test_a_truncated_vasprun_gives_its_complete_steps(tmp_path: Path):
    path = vasprun(tmp_path / "vasprun.xml")
    text = path.read_text()
    path.write_text(text[: text.rindex("</calculation>") - 5])
    with pytest.warns(UserWarning, match=r"vasprun.xml is cut off; its 2 complete ionic steps"):
        assert len(read(path)) == 2


def test_a_folder_of_runs_is_read_once_each(tmp_path: Path):
    vasprun(tmp_path / "a" / "vasprun.xml")
    (tmp_path / "a" / "OUTCAR").write_text("of the same run, and not read")
    vasprun(tmp_path / "b" / "vasprun.2.xml", FRAMES[:1])
    write(tmp_path / "b" / "XDATCAR", [bulk("Cu")] * 2, format="vasp-xdatcar")
    assert len(read(tmp_path, labels=[])) == 3 + 1 + 2


def test_an_xdatcar_has_no_labels(tmp_path: Path):
    write(tmp_path / "XDATCAR", [bulk("Cu"), bulk("Cu", a=3.7)], format="vasp-xdatcar")
    assert len(read(tmp_path / "XDATCAR", labels=[])) == 2
    with pytest.raises(InputError, match=r"XDATCAR, frame 0: no energy 'free_energy'"):
        read(tmp_path / "XDATCAR")


def test_files_that_cannot_be_used(tmp_path: Path):
    with pytest.raises(InputError, match="holds no run of VASP: there is no vasprun or OUTCAR or"):
        read(tmp_path)
    for name, message in {
        "vasprun.xml": "ASE cannot read .*vasprun.xml as vasp-xml",
        "OUTCAR": "dpdata cannot read .*OUTCAR as vasp/outcar",
        "run.log": r"run.log: unknown kind of file; names begin with vasprun, OUTCAR, XDATCAR",
    }.items():
        (tmp_path / name).write_text("what is this?\n")
        with pytest.raises(InputError, match=message):
            read(tmp_path / name)
    with pytest.raises(InputError, match="a run has no parts"):
        read(Path(f"{vasprun(tmp_path / 'vasprun.2.xml')}::1"))
