"""VASP's files, written here from known structures, against those and against dpdata."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path

import dpdata
import numpy as np
import pytest
from ase import Atoms, units
from ase.io import write as ase_write

import tiny
from hermnet.data.frames import Frame
from hermnet.datamodule import DATAMODULES
from hermnet.datamodules.vasp import VASP
from hermnet.errors import InputError

LABELS = ["energy", "forces", "stress"]
NELM = 20
SMEARING = 0.125  # eV between the free energy and that of zero smearing


def steps(n_steps: int) -> list[Atoms]:
    return [tiny.alloy(seed) for seed in range(n_steps)]  # Au Cu Cu Cu


def kbar(atoms: Atoms) -> np.ndarray:
    """VASP's stress: kbar, positive where the cell is compressed."""
    return np.asarray(-atoms.get_stress(voigt=False)) / (0.1 * units.GPa)


def rows(values: np.ndarray) -> str:
    return "".join(f"<v> {' '.join(f'{x:.12f}' for x in row)} </v>\n" for row in values)


def structure(atoms: Atoms, name: str = "") -> str:
    return (
        f"<structure{name}><crystal>\n<varray name='basis'>\n{rows(atoms.cell.array)}</varray>\n"
        f"</crystal>\n<varray name='positions'>\n{rows(atoms.get_scaled_positions(wrap=False))}"
        "</varray>\n</structure>\n"
    ).replace("'", '"')


def energy(atoms: Atoms) -> str:
    free = atoms.get_potential_energy()
    return (
        f'<energy><i name="e_fr_energy"> {free:.12f} </i>'
        f'<i name="e_wo_entrp"> {free + 2 * SMEARING:.12f} </i>'
        f'<i name="e_0_energy"> {free + SMEARING:.12f} </i></energy>\n'
    )


def vasprun(frames: list[Atoms], n_electronic: int = 3) -> str:
    """As little of a vasprun.xml as ASE and dpdata need."""
    atoms = "".join(f"<rc><c>{a.symbol}</c><c>{1 + (a.number == 29)}</c></rc>" for a in frames[0])
    text = (
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling>\n<parameters>\n'
        f'<i type="int" name="NELM"> {NELM}</i>\n<i type="int" name="NELMIN"> 2</i>\n'
        '<separator name="linear response">\n<i type="int" name="NELM"> 1</i>\n</separator>\n'
        "</parameters>\n<kpoints>\n</kpoints>\n"
        f'<atominfo><array name="atoms"><set>{atoms}</set></array></atominfo>\n'
    )
    text += structure(frames[0], ' name="initialpos"')
    for frame in frames:
        text += "<calculation>\n" + f"<scstep>{energy(frame)}</scstep>\n" * n_electronic
        text += structure(frame)
        text += f'<varray name="forces">\n{rows(frame.get_forces())}</varray>\n'
        text += f'<varray name="stress">\n{rows(kbar(frame))}</varray>\n'
        text += energy(frame) + "</calculation>\n"
    return text + "</modeling>\n"


def outcar(frames: list[Atoms], n_electronic: int = 3, vdw: bool = False) -> str:
    """As little of an OUTCAR as ASE and dpdata need."""
    text = "".join(f" POTCAR:    PAW_PBE {name} 01Jan2000\n" for name in ("Au", "Cu_pv") * 2)
    text += f"   NELM   =     {NELM};   NELMIN=  2\n   NWRITE =      2\n"
    text += "   ions per type =               1   3\n"
    for number, frame in enumerate(frames, start=1):
        for electronic in range(1, n_electronic + 1):
            text += f"----- Iteration {number:6d}({electronic:4d})  -----\n"
        stress = kbar(frame)
        six = [stress[i, j] for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (2, 0))]
        text += "  FORCE on cell =-STRESS in cart. coord.  units (eV):\n"
        text += "  ...\n" * 13
        text += f"  in kB  {' '.join(f'{x:.9f}' for x in six)}\n"
        text += " VOLUME and BASIS-vectors are now :\n\n\n\n"
        text += "      direct lattice vectors                 reciprocal lattice vectors\n"
        for row in frame.cell.array:
            text += f" {' '.join(f'{x:.12f}' for x in row)} 0.0 0.0 0.0\n"
        text += " POSITION                                       TOTAL-FORCE (eV/Angst)\n ---\n"
        for place, force in zip(frame.positions, frame.get_forces(), strict=True):
            text += f" {' '.join(f'{x:.12f}' for x in (*place, *force))}\n"
        free = frame.get_potential_energy()
        more = "    w/o vdW =  -1.0 eV" if vdw else ""
        other = " eV    w/o vdW =  -1.0" if vdw else ""
        text += "  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)\n  -----\n"
        text += f"  free  energy   TOTEN  = {free:.12f} eV{more}\n\n"
        text += f"  energy  without entropy= {free + 2 * SMEARING:.12f}{other}"
        text += f"  energy(sigma->0) = {free + SMEARING:.12f}{more}\n"
    return text + " General timing and accounting informations for this job:\n"


WRITERS = {"vasprun.xml": vasprun, "OUTCAR": outcar}
each_file = pytest.mark.parametrize("name", WRITERS)


def frames(path: Path, **options: object) -> list[Frame]:
    found = VASP(train=str(path), **options).open(path, "")
    return [found[index] for index in range(len(found))]


@each_file
def test_labels_come_back_as_they_were(tmp_path: Path, name: str):
    path = tmp_path / name
    path.write_text(WRITERS[name](steps(3)))
    graphs = VASP(train=str(path), labels=LABELS).read()["train"]
    assert len(graphs) == 3
    for atoms, graph in zip(steps(3), graphs, strict=True):
        assert graph.atomic_numbers.tolist() == [79, 29, 29, 29]
        assert graph.pbc.all()
        np.testing.assert_allclose(graph.positions, atoms.positions, atol=1e-8)
        np.testing.assert_allclose(graph.cell[0], atoms.cell.array, atol=1e-8)
        np.testing.assert_allclose(graph.energy, [atoms.get_potential_energy()], atol=1e-8)
        np.testing.assert_allclose(graph.forces, atoms.get_forces(), atol=1e-8)
        np.testing.assert_allclose(graph.stress[0], atoms.get_stress(voigt=False), atol=1e-7)


@pytest.mark.parametrize(("name", "fmt"), [("vasprun.xml", "vasp/xml"), ("OUTCAR", "vasp/outcar")])
def test_dpdata_reads_the_same(tmp_path: Path, name: str, fmt: str):
    path = tmp_path / name
    path.write_text(WRITERS[name](steps(2)))
    other = dpdata.LabeledSystem(str(path), fmt=fmt)  # turns the cell, so compare what stays
    graphs = VASP(train=str(path), labels=LABELS).read()["train"]
    np.testing.assert_allclose([float(g.energy) for g in graphs], other["energies"], atol=1e-8)
    for graph, forces, virial, cell in zip(
        graphs, other["forces"], other["virials"], other["cells"], strict=True
    ):
        np.testing.assert_allclose(
            graph.forces.norm(dim=1), np.linalg.norm(forces, axis=1), atol=1e-8
        )
        np.testing.assert_allclose(
            np.linalg.eigvalsh(-graph.stress[0]),
            np.linalg.eigvalsh(virial) / np.linalg.det(cell),
            atol=1e-6,
        )


@each_file
def test_the_energy_of_zero_smearing_by_its_key(tmp_path: Path, name: str):
    path = tmp_path / name
    path.write_text(WRITERS[name](steps(1)))
    (free,) = VASP(train=str(path)).read()["train"]
    (zero,) = VASP(train=str(path), keys={"energy": "energy"}).read()["train"]
    assert float(zero.energy - free.energy) == pytest.approx(SMEARING, abs=1e-8)


def test_a_dispersion_correction_belongs_to_the_energy(tmp_path: Path):
    path = tmp_path / "OUTCAR"
    path.write_text(outcar(steps(1), vdw=True))
    (frame,) = frames(path)
    expected = steps(1)[0].get_potential_energy()
    assert frame.values["free_energy"] == pytest.approx(expected)
    assert frame.values["energy"] == pytest.approx(expected + SMEARING)


def test_no_run_of_a_folder_is_read_twice(tmp_path: Path):
    for folder, name, n_steps in (
        ("a", "vasprun.xml", 2),
        ("a", "OUTCAR", 2),
        ("b/c", "OUTCAR", 1),
        ("d", "vasprun.1.xml", 1),
        ("d", "OUTCAR.1", 1),
        ("d", "OUTCAR.2", 1),
    ):
        path = tmp_path / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(WRITERS["OUTCAR" if "OUT" in name else "vasprun.xml"](steps(n_steps)))
    (tmp_path / "a" / "POSCAR").write_text("no matter")
    found = frames(tmp_path)
    assert [Path(frame.values["run"]).relative_to(tmp_path).as_posix() for frame in found] == [
        "a/vasprun.xml",
        "a/vasprun.xml",
        "b/c/OUTCAR",
        "d/OUTCAR.2",
        "d/vasprun.1.xml",
    ]
    splits = VASP(train=str(tmp_path), n_val=1, group_key="run").read()
    assert len(splits["train"]) + len(splits["val"]) == 5


def test_compressed_files_and_slices(tmp_path: Path):
    path = tmp_path / "vasprun.xml.gz"
    path.write_bytes(gzip.compress(vasprun(steps(4)).encode()))
    graphs = VASP(train=f"{path}::1::2").read()["train"]
    expected = [steps(4)[index].get_potential_energy() for index in (1, 3)]
    assert [float(graph.energy) for graph in graphs] == pytest.approx(expected)
    path = tmp_path / "OUTCAR.gz"
    path.write_bytes(gzip.compress(outcar(steps(2)).encode()))
    assert len(VASP(train=str(path)).read()["train"]) == 2


@each_file
@pytest.mark.parametrize("place", [0.55, 0.7, 0.9])
def test_of_a_truncated_file_the_complete_steps_are_read(tmp_path: Path, name: str, place: float):
    text = WRITERS[name](steps(4))
    end = "</calculation>" if "xml" in name else r"sigma->0\) = .*\n"
    path = tmp_path / name
    text = text[: int(place * len(text))]
    complete = len(re.findall(end, text))
    assert complete in (1, 2, 3)
    path.write_text(text)
    with pytest.warns(UserWarning, match=f"is cut off or damaged: read {complete} complete ionic"):
        graphs = VASP(train=str(path)).read()["train"]
    expected = [atoms.get_potential_energy() for atoms in steps(complete)]
    assert [float(graph.energy) for graph in graphs] == pytest.approx(expected)


@each_file
def test_nothing_is_complete(tmp_path: Path, name: str):
    path = tmp_path / name
    text = WRITERS[name](steps(1))
    path.write_text(text[: len(text) // 2])
    with pytest.raises(InputError, match="cut off before the end of its first ionic step"):
        frames(path)


def test_broken_xml_in_the_middle(tmp_path: Path):
    path = tmp_path / "vasprun.xml"
    before, after = vasprun(steps(3)).rsplit("<calculation>", 1)
    path.write_text(f"{before}<calculation></oops>{after}")
    with pytest.warns(UserWarning, match="cut off or damaged: read 2 complete ionic steps"):
        assert len(frames(path)) == 2


@each_file
def test_steps_that_did_not_converge(tmp_path: Path, name: str):
    good, bad = tmp_path / "a" / name, tmp_path / "b" / name
    for path, n_electronic in ((good, NELM - 1), (bad, NELM)):
        path.parent.mkdir()
        path.write_text(WRITERS[name](steps(2), n_electronic))
    message = f"b/{name}: 2 of 2 ionic steps took all NELM = {NELM} electronic steps"
    with pytest.warns(UserWarning, match=message):
        assert len(frames(tmp_path)) == 4
    assert len(frames(tmp_path, unconverged="skip")) == 2
    with pytest.raises(InputError, match=message):
        frames(tmp_path, unconverged="error")


def test_positions_alone(tmp_path: Path):
    path = tmp_path / "XDATCAR"
    ase_write(path, steps(2), format="vasp-xdatcar")
    graphs = VASP(train=str(path), labels=[]).read()["train"]
    assert len(graphs) == 2
    np.testing.assert_allclose(graphs[0].cell[0], steps(1)[0].cell.array, atol=1e-5)
    with pytest.raises(InputError, match=r"ionic step 1: no energy 'free_energy'; \(known: run"):
        VASP(train=str(path)).read()


def test_a_run_without_stress(tmp_path: Path):
    text = re.sub(r'<varray name="stress">.*?</varray>', "", vasprun(steps(1)), flags=re.DOTALL)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "vasprun.xml").write_text(vasprun(steps(1)))
    (tmp_path / "vasprun.xml").write_text(text)
    with pytest.raises(InputError, match=r"vasprun.xml, ionic step 1: no stress 'stress'; .*force"):
        VASP(train=str(tmp_path), labels=LABELS).read()
    skipped = VASP(train=str(tmp_path), labels=LABELS, missing="skip").read()["train"]
    assert len(skipped) == 1


def nan(text: str) -> str:
    return re.sub(r'(name="forces">\s*<v>) \S+', r"\1 NaN", text)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (nan, "ionic step 1: forces 'forces' has NaN or infinity"),
        (lambda text: text.replace("<c>Au</c>", "<c>Xx</c>"), "ASE cannot read .*: KeyError: 'Xx'"),
        (lambda text: re.sub(r"(e_fr_energy\"> )\S+", r"\1****", text), "could not convert string"),
        (lambda _: "noise\n</modeling>", "ASE cannot read .*vasprun.xml: ParseError"),
        (lambda _: "<modeling>\n</modeling>", "vasprun.xml holds no ionic steps"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, spoil: Callable[[str], str], message: str):
    path = tmp_path / "vasprun.xml"
    path.write_text(spoil(vasprun(steps(1))))
    with pytest.raises(InputError, match=message):
        VASP(train=str(path)).read()


def test_files_of_other_names(tmp_path: Path):
    with pytest.raises(InputError, match=r"no file of VASP in .*known: vasprun\*.xml, OUTCAR\*"):
        VASP(train=str(tmp_path)).read()
    (tmp_path / "POSCAR").touch()
    with pytest.raises(InputError, match=r"'POSCAR' is no file of VASP that is read; known: vasp"):
        VASP(train=str(tmp_path / "POSCAR")).read()


@each_file
def test_unreadable_file(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / name
    path.write_text(WRITERS[name](steps(1)))

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("hermnet.data.vasp.open_with_compression", refuse)
    with pytest.raises(InputError, match=f"cannot read .*{name}: .*Permission denied"):
        frames(path)


def test_the_name_in_recipes():
    assert DATAMODULES.get("vasp") is VASP


def test_all_files_of_a_folder_tell_whether_facts_are_still_true(tmp_path: Path):
    def known() -> str | None:
        return VASP(train=str(tmp_path)).open(tmp_path, "").fingerprint()

    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "vasprun.xml").write_text(vasprun(steps(2)))
    before = known()
    assert before is not None
    assert known() == before
    (tmp_path / "two" / "vasprun.xml").write_text(vasprun(steps(1)))
    assert known() != before
