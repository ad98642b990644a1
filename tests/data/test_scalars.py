"""Scalars of files: which columns they are, in which units, and what is said when they are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import units
from ase.build import molecule

from hermnet.data.frames import Frame
from hermnet.data.labels import Labelling
from hermnet.datamodules.extxyz import ExtXYZ
from hermnet.datamodules.packed import Packed
from hermnet.errors import InputError
from hermnet.recipes.config import resolve
from hermnet.run import commands as runs

WANTED = {"gap": "Hartree", "mu": "D", "n_rings": "1"}


def frame(**values: Any) -> Frame:
    atoms = molecule("CH3OH")
    atoms.info |= values
    return Frame.from_atoms(atoms, "mol.xyz, frame 3")


def scalars(given: Frame, **options: Any) -> list[float]:
    graph = Labelling.parse((), **{"scalars": WANTED, **options}).graph(given)
    assert graph is not None
    assert graph.scalars is not None
    assert graph.scalars.shape == (1, 3)
    return graph.scalars[0].tolist()


def test_energies_become_ev_and_other_units_stay():
    given = frame(gap=0.25, mu=1.7, n_rings=2)
    assert scalars(given) == pytest.approx([0.25 * units.Hartree, 1.7, 2.0])
    found = Labelling.parse((), scalars=WANTED).scalars
    assert (found.names, found.units) == (("gap", "mu", "n_rings"), ("eV", "D", ""))


def test_a_scalar_may_have_another_key_and_be_an_array_of_one():
    given = frame(homo_lumo=[0.5], mu=np.array([[1.0]]), n_rings=np.int64(3))
    found = scalars(given, keys={"gap": "homo_lumo"})
    assert found == pytest.approx([0.5 * units.Hartree, 1.0, 3.0])


def test_a_missing_scalar_is_an_error_a_gap_or_a_mask():
    given = frame(gap=0.25, mu_D=1.7, n_rings=2)
    message = r"mol.xyz, frame 3: no scalar mu 'mu'; did you mean 'mu_D'|known: .*mu_D"
    with pytest.raises(InputError, match=message):
        scalars(given)
    assert Labelling.parse((), scalars=WANTED, missing="skip").graph(given) is None
    found = scalars(given, missing="mask")
    assert np.isnan(found).tolist() == [False, True, False]
    assert np.isnan(scalars(frame(gap=np.nan, mu=1.0, n_rings=1), missing="mask"))[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scalars": {"gap": "hartree"}}, "scalars.gap: unknown unit 'hartree' of a scalar; did"),
        ({"scalars": {"cv": "cal/mol K"}}, r"scalars.cv: unknown .*mean 'cal/\(mol K\)'"),
        ({"scalars": {"energy": "eV"}}, "'energy' is one of the labels; .*other_name: energy"),
        ({"keys": {"gpa": "x"}}, "keys: unknown 'gpa'; did you mean 'gap'"),
        ({"missing": "drop"}, "missing: unknown 'drop'"),
    ],
)
def test_options_that_cannot_be_meant(options: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        Labelling.parse((), **{"scalars": WANTED, **options})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mu": [1.0, 2.0, 3.0]}, r"scalar mu 'mu' has shape \(3,\), not one number"),
        ({"mu": "large"}, "scalar mu 'mu' is not numbers"),
        ({"gap": np.nan}, "scalar gap 'gap' has NaN or infinity"),
        ({"gap": np.inf}, "scalar gap 'gap' has NaN or infinity"),
    ],
)
def test_values_that_are_no_scalars(values: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        scalars(frame(**{"gap": 1.0, "mu": 1.0, "n_rings": 0, **values}))


def test_a_dipole_in_debye():
    given = frame(moment=[1.0, 0.0, -2.0])
    labelling = Labelling.parse(["dipole"], {"dipole": "moment"}, {"dipole": "D"})
    graph = labelling.graph(given)
    assert graph is not None
    assert graph.dipole is not None
    np.testing.assert_allclose(graph.dipole, [[units.Debye, 0.0, -2 * units.Debye]])
    with pytest.raises(InputError, match=r"dipole 'mu' has shape \(\), not \(1, 3\)"):
        Labelling.parse(["dipole"], {"dipole": "mu"}).graph(frame(mu=1.8))


NAMES = ("CH3OH", "CH4", "H2CO", "CH3CH2OH")


def molecules(n_frames: int) -> list[Any]:
    found = []
    for index in range(n_frames):
        atoms = molecule(NAMES[index % len(NAMES)])
        atoms.rattle(0.05, seed=index)
        r = atoms.positions - atoms.get_center_of_mass()
        atoms.info |= {"E0": -0.5 * len(atoms) - 0.01 * r.std(), "size": (r**2).sum()}
        found.append(atoms)
    return found


def packed(path: Path, frames: list[Any], **changed: Any) -> Path:
    arrays: dict[str, Any] = {
        "n_atoms": [len(atoms) for atoms in frames],
        "numbers": np.concatenate([atoms.numbers for atoms in frames]),
        "positions": np.concatenate([atoms.positions for atoms in frames]),
        "E0": [atoms.info["E0"] for atoms in frames],
        "size": [atoms.info["size"] for atoms in frames],
        **changed,
    }
    np.savez(path, **arrays)
    return path


OPTIONS: dict[str, Any] = {"scalars": {"u0": "Hartree", "size": "A^2"}, "keys": {"u0": "E0"}}


def test_xyz_and_packed_files_say_the_same(tmp_path: Path):
    frames = molecules(5)
    ase.io.write(tmp_path / "a.xyz", frames)
    packed(tmp_path / "a.npz", frames)
    read = []
    for module, name in ((ExtXYZ, "a.xyz"), (Packed, "a.npz")):
        data = module(train=str(tmp_path / name), **OPTIONS)
        assert (data.scalar_names, data.scalar_units) == (("u0", "size"), ("eV", "A^2"))
        read.append(data.read()["train"])
        assert read[-1][0].energy is None
    for atoms, one, other in zip(frames, *read, strict=True):
        expected = [[atoms.info["E0"] * units.Hartree, atoms.info["size"]]]
        np.testing.assert_allclose(one.scalars, expected, rtol=1e-7)
        np.testing.assert_allclose(other.scalars, expected, rtol=1e-12)


def test_energies_and_scalars_can_be_read_together(tmp_path: Path):
    path = packed(tmp_path / "a.npz", molecules(3), energy=[1.0, 2.0, 3.0])
    graph = Packed(train=str(path), labels=["energy"], **OPTIONS).read()["train"][1]
    assert float(graph.energy) == 2.0
    assert graph.scalars.shape == (1, 2)


@pytest.mark.filterwarnings("ignore:relations with few training edges")
def test_a_fit_with_masked_scalars(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    frames = molecules(16)
    sizes = np.array([atoms.info["size"] for atoms in frames])
    sizes[::3] = np.nan
    path = packed(tmp_path / "a.npz", frames, size=sizes)
    (tmp_path / "own.yaml").write_text(
        f"""
data:
  name: packed
  train: {path}
  n_val: 4
  n_test: 4
  scalars: {{u0: Hartree, size: A^2}}
  keys: {{u0: E0}}
  missing: mask
model:
  n_channels: 4
  n_layers: 1
  readout: {{name: scalar, targets: [u0, size], mode: sum}}
trainer:
  max_epochs: 1
  accelerator: cpu
  logger: false
  default_root_dir: {tmp_path / "run"}
"""
    )
    run = runs.fit(resolve(str(tmp_path / "own.yaml")))
    known = sum(len(result.pairs["size"][0]) for result in run.results.values())
    assert known == np.isfinite(sizes).sum() == 10
    assert sum(len(result.pairs["u0"][0]) for result in run.results.values()) == 16
    assert "A^2" in capsys.readouterr().out
