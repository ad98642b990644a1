"""Models that start from a checkpoint, with new elements, frozen parts and other energies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from ase import Atoms
from ase.build import molecule

import tiny
from checkpoints import save_model
from hermnet import collate, graph_from_atoms
from hermnet.checkpoints.checkpoint import load_potential
from hermnet.errors import InputError
from hermnet.graph import AtomicGraph
from hermnet.model_options import ModelOptions
from hermnet.potential import Potential, Prediction
from hermnet.property_model import PropertyModel
from hermnet.recipes.config import resolve
from hermnet.run.commands import Run, fit
from hermnet.training.finetuning import continued
from hermnet.training.freezing import freeze
from hermnet.training.losses import loss_function, loss_terms

pytestmark = pytest.mark.filterwarnings("ignore:relations with few training edges")

KNOWN = (1, 6, 8)
SHIFTS = {1: 0.5, 6: -2.0, 8: 1.5}  # eV, of another level of theory
SMALL = ModelOptions(cutoff=3.0, n_channels=4, n_layers=2, n_radial=4, dtype="float64")


def methylamine(seed: int) -> Atoms:
    atoms = molecule("H3CNH2")
    atoms.rattle(0.05, seed=seed)
    return tiny.labelled(atoms)


def shifted(seed: int) -> Atoms:
    """Methanol with other energies of its atoms."""
    atoms = tiny.methanol(seed)
    atoms.calc.results["energy"] += sum(SHIFTS[z] for z in atoms.numbers)
    return atoms


def graph_of(atoms: Atoms) -> AtomicGraph:
    graph = graph_from_atoms(atoms, SMALL.cutoff)
    energy = torch.tensor([atoms.get_potential_energy()], dtype=torch.float64)
    return replace(graph, energy=energy, forces=torch.from_numpy(atoms.get_forces()))


METHANOL = collate([graph_of(tiny.methanol(seed)) for seed in range(3)])
AMINE = collate([graph_of(methylamine(seed)) for seed in range(3)])


def stored(path: Path, options: ModelOptions) -> Path:
    """A checkpoint of an untrained potential."""
    torch.manual_seed(1)
    potential = Potential(options, KNOWN, 3.0)
    potential.set_reference({z: -float(z) for z in KNOWN}, 2.0)
    return save_model(path, potential)


def started(
    path: Path, options: ModelOptions, elements: tuple[int, ...] = (1, 6, 7), rank: int = 0
) -> Potential:
    options = replace(options, init_from=str(path), low_rank=rank)
    model = continued(options, elements, {}, seed=2).model
    assert isinstance(model, Potential)
    return model


def train(potential: Potential, words: list[str], n_steps: int = 3) -> None:
    """Steps on methylamine with a decay of weights, which needs no gradient to move them."""
    frozen = freeze(potential, words, KNOWN)
    optimizer = torch.optim.AdamW(potential.parameters(), lr=0.02, weight_decay=0.5)
    frozen.guard(optimizer)
    for _ in range(n_steps):
        terms = loss_terms(potential(AMINE), AMINE, loss_function("l2", 1.0))
        optimizer.zero_grad()
        (terms["energy"].total + terms["forces"].total).backward()
        optimizer.step()


@pytest.mark.parametrize("sharing", ["independent", "basis:2", "shared"])
@pytest.mark.parametrize("scheme", ["none", "vertex", "pair", "triadic"])
@pytest.mark.parametrize("subnet", ["painn", "schnet", "nequip", "rmconv"])
def test_frozen_chemistry_keeps_its_energies_to_the_last_bit(
    tmp_path: Path, subnet: str, scheme: str, sharing: str
):
    options = replace(SMALL, subnet=subnet, relations=scheme, sharing=sharing)
    path = stored(tmp_path / "a.ckpt", options)
    potential = started(path, options)
    assert potential.elements == (1, 6, 8, 7)
    before, amine = load_potential(path)(METHANOL), potential(AMINE).energy
    assert_same(before, potential(METHANOL), sharing)
    train(potential, ["known"])
    assert_same(before, potential(METHANOL), sharing)
    assert not torch.allclose(potential(AMINE).energy, amine)


@pytest.mark.parametrize("scheme", ["vertex", "triadic"])
@pytest.mark.parametrize("heterogeneity", ["filters", "update"])
def test_new_relations_beside_layers_that_know_none(
    tmp_path: Path, heterogeneity: str, scheme: str
):
    options = replace(SMALL, relations=scheme, heterogeneity=heterogeneity)
    path = stored(tmp_path / "a.ckpt", options)
    before = load_potential(path)(METHANOL)
    potential = started(path, options)
    amine = potential(AMINE).energy
    train(potential, ["known"])
    assert_same(before, potential(METHANOL), "independent")
    assert not torch.allclose(potential(AMINE).energy, amine)
    low_rank = started(path, options, rank=2)
    assert_same(before, low_rank(METHANOL), "basis")
    train(low_rank, [])
    assert not torch.allclose(low_rank(METHANOL).energy, before.energy)


def assert_same(before: Prediction, after: Prediction, sharing: str) -> None:
    # A product with more mixing coefficients may be rounded otherwise.
    tolerance = 1e-12 if sharing.startswith("basis") else 0.0
    for one, other in ((before.energy, after.energy), (before.forces, after.forces)):
        torch.testing.assert_close(other, one, rtol=tolerance, atol=tolerance)


def second(folder: Path, file: Path, start: Path, *overrides: str) -> Run:
    """A run that goes on from a checkpoint with other frames, the model's options left out."""
    folder.mkdir(exist_ok=True)
    path = folder / "second.yaml"
    path.write_text(
        f"data: {{name: extxyz, train: {file}, n_val: 2, batch_size: 3}}\n"
        f"model: {{init_from: {start}}}\n"
        "training: {optimizer: {class_path: torch.optim.AdamW, lr: 0.01, weight_decay: 0.1}}\n"
        "trainer: {max_epochs: 2, accelerator: cpu, enable_progress_bar: false,\n"
        f"  default_root_dir: {folder / 'run'}}}\n"
    )
    return fit(resolve(str(path), overrides))


@pytest.mark.slow
def test_a_run_with_new_elements(tmp_path: Path):
    options = replace(SMALL, subnet="nequip", relations="vertex")
    start = stored(tmp_path / "start.ckpt", options)
    amines = tiny.write(tmp_path / "amine.xyz", [methylamine(seed) for seed in range(6)])
    run = second(tmp_path, amines, start, "training.freeze=[known]")
    before, after = load_potential(start), load_potential(run.folder.best)
    assert_same(before(METHANOL), after(METHANOL), "independent")
    assert after.elements == (1, 6, 8, 7)
    assert after.reference.energies[3] != 0.0  # nitrogen's, from the energies that the rest leaves


@pytest.mark.slow
def test_reference_energies_follow_other_energies_of_atoms(tmp_path: Path):
    start = stored(tmp_path / "start.ckpt", SMALL)
    frames = tiny.write(tmp_path / "shifted.xyz", [shifted(seed) for seed in range(6)])
    plain = tiny.write(tmp_path / "plain.xyz", [tiny.methanol(seed) for seed in range(6)])
    options = ("training.optimizer.lr=0", "trainer.max_epochs=1")
    runs = [second(tmp_path / file.stem, file, start, *options) for file in (frames, plain)]
    shift = sum(SHIFTS[z] for z in tiny.methanol(0).numbers)
    one, other = (load_potential(run.folder.best) for run in runs)
    difference = (one(METHANOL).energy - other(METHANOL).energy).detach()
    torch.testing.assert_close(difference, torch.full_like(difference, shift))
    kept = second(tmp_path / "kept", frames, start, *options, "model.reference=keep")
    untouched = load_potential(kept.folder.best).reference.energies
    assert untouched.tolist() == load_potential(start).reference.energies.tolist()


def test_a_low_rank_change_beside_weights_that_stay(tmp_path: Path):
    start = stored(tmp_path / "start.ckpt", SMALL)
    potential = started(start, SMALL, KNOWN, rank=2)
    torch.testing.assert_close(potential(METHANOL).forces, load_potential(start)(METHANOL).forces)
    frames = tiny.write(tmp_path / "plain.xyz", [tiny.methanol(seed) for seed in range(6)])
    run = second(tmp_path, frames, start, "model.low_rank=2")
    weights = load_potential(run.folder.best).state_dict()
    bases = {name for name in weights if ".stack.base." in name}
    changes = {name for name in weights if name.endswith(".up")}
    assert len(bases) == len(changes) == 12  # six linear layers of PaiNN in two interactions
    before = load_potential(start).state_dict()
    for name in bases:
        assert torch.equal(weights[name], before[name.replace(".base.", ".")])
    assert all(weights[name].abs().max() > 0 for name in changes)
    # once more from there: the change becomes part of the weights
    again = started(run.folder.best, SMALL, KNOWN)
    now = load_potential(run.folder.best)(METHANOL).forces
    torch.testing.assert_close(again(METHANOL).forces, now)


def test_features_of_a_potential_serve_a_property(tmp_path: Path):
    start = stored(tmp_path / "start.ckpt", SMALL)
    options = replace(
        SMALL, init_from=str(start), readout={"name": "scalar", "targets": ["gap"], "mode": "sum"}
    )
    begun = continued(options, KNOWN, {"gap": "eV"}, seed=3)
    assert not begun.has_readout
    source, indices = load_potential(start), begun.model.indices(METHANOL)
    vectors = METHANOL.positions[METHANOL.neighbors] - METHANOL.positions[METHANOL.centers]
    assert torch.equal(begun.model.features(vectors, indices), source.features(vectors, indices))


@pytest.mark.parametrize(
    ("words", "trained"),
    [
        (["embedding"], {"router", "readout"}),
        (["interactions", "readout"], {"embedding"}),
        (["embedding", "interactions"], {"readout"}),
    ],
)
def test_parts_that_stay(words: list[str], trained: set[str]):
    potential = Potential(SMALL, KNOWN, 3.0)
    freeze(potential, words, None)
    names = {n.split(".")[0] for n, p in potential.named_parameters() if p.requires_grad}
    assert names == trained


def test_one_relation_that_stays(tmp_path: Path):
    potential = Potential(SMALL, (1, 6, 7), 3.0)
    before = {n: p.detach().clone() for n, p in potential.named_parameters()}
    train(potential, ["C"])
    for name, after in potential.named_parameters():
        if ".stack." in name:
            assert torch.equal(after[1], before[name][1]), name
            assert not torch.allclose(after[2], before[name][2]), name


@pytest.mark.parametrize(
    ("words", "known", "message"),
    [
        (["readuot"], None, "training.freeze: unknown 'readuot'; did you mean 'readout'"),
        (["known"], None, "training.freeze: known: there is no model.init_from"),
        (["embedding", "interactions", "readout"], None, "leaves nothing to train"),
        (["known"], KNOWN, "known leaves nothing to train"),
    ],
)
def test_what_cannot_be_frozen(words: list[str], known: tuple[int, ...] | None, message: str):
    with pytest.raises(InputError, match=message):
        freeze(Potential(SMALL, KNOWN, 3.0), words, known)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.n_channels=8", r"model.n_channels: 8, but .*start.ckpt has 4; leave it out"),
        ("model.init_from=none.ckpt", "there is no checkpoint none.ckpt"),
        (
            "model.reference=hold",
            "model.reference: 'hold' is neither 'fit' nor 'keep' nor a mapping",
        ),
        ("model.low_rank=-1", "model.low_rank: -1 is too small; at least 0"),
    ],
)
def test_recipes_that_cannot_go_on(tmp_path: Path, override: str, message: str):
    start = stored(tmp_path / "start.ckpt", SMALL)
    with pytest.raises(InputError, match=message):
        resolve("quickstart", ["model={init_from: " + str(start) + "}", override])


def test_what_needs_a_checkpoint():
    with pytest.raises(InputError, match=r"model.low_rank: holds for a model with init_from"):
        ModelOptions(low_rank=2)
    with pytest.raises(InputError, match=r"model.reference: keep: holds for a model with"):
        ModelOptions(reference="keep")


def test_properties_of_new_elements_are_refused(tmp_path: Path):
    readout = {"name": "scalar", "targets": ["gap"], "mode": "sum"}
    options = replace(SMALL, readout=readout)
    model = PropertyModel(options, KNOWN, 3.0, {"gap": "eV"})
    save_model(tmp_path / "gap.ckpt", model)
    begun = replace(options, init_from=str(tmp_path / "gap.ckpt"))
    assert continued(begun, KNOWN, {"gap": "eV"}, seed=0).has_readout
    with pytest.raises(InputError, match=r"model.init_from: 'readout.*' is \(3.*elements can only"):
        continued(begun, (1, 7), {"gap": "eV"}, seed=0)
