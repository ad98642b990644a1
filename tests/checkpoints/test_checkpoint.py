from __future__ import annotations

import os
import pickle
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch

import structures
from hermnet.checkpoints.checkpoint import FORMAT, describe, load_potential, read_checkpoint
from hermnet.checks import predict, random_potential
from hermnet.errors import InputError
from hermnet.model_options import ModelOptions
from hermnet.potential import Potential

ELEMENTS = (1, 6, 8)
OPTIONS = ModelOptions(relations="pair", n_channels=4, n_layers=1, n_radial=4, cutoff=3.0)
# neither of them has a float32 that is equal
REFERENCE = {1: -13.587222780835477, 6: -1029.4889999855063, 8: -2041.9816003861047}
SCALE = 0.7310585786300049


def content(options: ModelOptions = OPTIONS, **about: Any) -> dict[str, Any]:
    """What Lightning would write, as far as we read it."""
    potential = random_potential(options, ELEMENTS, mean_neighbors=1.0 / 3.0)
    potential.set_reference(REFERENCE, SCALE)
    described = describe(potential, {"name": "trained", "model": asdict(options)})
    described |= {"position": {"epoch": 6, "batch": 3, "n_batches": 5}, "metrics": {"val": 1.5}}
    state = {f"potential.{name}": value for name, value in potential.state_dict().items()}
    return {"state_dict": state, "epoch": 6, "global_step": 33, "hermnet": described | about}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return save(tmp_path / "best.ckpt", content())


def save(path: Path, whatever: Any) -> Path:
    torch.save(whatever, path)
    return path


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_round_trip_is_exact(tmp_path: Path, dtype: str):
    options = replace(
        OPTIONS, dtype=dtype, subnet={"name": "painn"}, classes={"X": ["C", "O"], "H": ["H"]}
    )
    written = content(options)
    potential = load_potential(save(tmp_path / "a.ckpt", written))
    assert potential.options == options
    assert potential.elements == ELEMENTS
    assert potential.mean_neighbors == 1.0 / 3.0
    assert not potential.training
    state = potential.state_dict()
    assert {f"potential.{name}" for name in state} == set(written["state_dict"])
    for name, value in state.items():
        assert torch.equal(value, written["state_dict"][f"potential.{name}"]), name
        assert value.dtype == written["state_dict"][f"potential.{name}"].dtype
    assert potential.reference.energies.tolist() == list(REFERENCE.values())
    assert potential.reference.scale.item() == SCALE


def test_the_same_numbers_come_out(saved: Path):
    written = content()
    before = Potential(OPTIONS, ELEMENTS, 1.0 / 3.0)
    before.load_state_dict(
        {name.removeprefix("potential."): value for name, value in written["state_dict"].items()}
    )
    one, other = (predict(p, structures.molecule()) for p in (before, load_potential(saved)))
    assert torch.equal(one.energy, other.energy)
    assert torch.equal(one.forces, other.forces)


def test_loading_in_another_dtype(saved: Path):
    potential = load_potential(saved, dtype="float64")
    assert {p.dtype for p in potential.parameters()} == {torch.float64}
    assert potential.reference.energies.tolist() == list(REFERENCE.values())
    exact, short = (predict(p, structures.molecule()) for p in (potential, load_potential(saved)))
    assert exact.forces.dtype == torch.float64
    torch.testing.assert_close(short.forces.double(), exact.forces, rtol=1e-4, atol=1e-4)
    with pytest.raises(InputError, match=r"model.dtype: unknown 'float16'"):
        load_potential(saved, dtype="float16")


def test_what_a_checkpoint_says_of_itself(saved: Path):
    stored = read_checkpoint(saved)
    assert stored.elements == ELEMENTS
    assert stored.epoch == 6
    assert stored.recipe == {"name": "trained", "model": asdict(OPTIONS)}
    versions = content()["hermnet"]["versions"]
    assert {"hermnet", "torch", "pytorch-lightning", "e3nn", "ase"} <= set(versions)
    assert all(versions[name] == version(name) for name in versions)


def test_a_missing_file(tmp_path: Path):
    with pytest.raises(InputError, match=r"there is no checkpoint .*nothing.ckpt"):
        load_potential(tmp_path / "nothing.ckpt")
    with pytest.raises(InputError, match="there is no checkpoint"):
        load_potential(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_file(saved: Path, share: float):
    whole = saved.read_bytes()
    saved.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"best.ckpt is truncated, damaged or no checkpoint"):
        load_potential(saved)


def test_random_bytes(saved: Path):
    generator = torch.Generator().manual_seed(1)
    noise = torch.randint(0, 256, (4096,), generator=generator, dtype=torch.uint8)
    saved.write_bytes(noise.numpy().tobytes())
    with pytest.raises(InputError, match=r"best.ckpt is truncated, damaged or no checkpoint"):
        load_potential(saved)


def test_a_damaged_file(saved: Path):
    damaged = bytearray(saved.read_bytes())
    start = damaged.index(b"state_dict")
    damaged[start : start + 300] = bytes(byte ^ 0xFF for byte in damaged[start : start + 300])
    saved.write_bytes(damaged)
    with pytest.raises(InputError, match=r"best.ckpt (is a damaged checkpoint|would run code)"):
        load_potential(saved)


class Burglar:
    """Would make a folder when unpickled."""

    def __init__(self, loot: Path) -> None:
        self.loot = loot

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.loot),)


@pytest.mark.parametrize("hidden", [False, True], ids=["alone", "in a checkpoint of ours"])
def test_a_file_that_would_run_code(tmp_path: Path, hidden: bool):
    loot = tmp_path / "loot"
    burglar = Burglar(loot)
    path = save(tmp_path / "a.ckpt", content() | {"extra": burglar} if hidden else burglar)
    with pytest.raises(
        InputError, match=r"a.ckpt would run code: it names '\w+\.mkdir', .*refused"
    ):
        load_potential(path)
    assert not loot.exists()
    torch.load(path, weights_only=False)
    assert loot.exists(), "the file is as dangerous as it has to be for this test"


def test_a_bare_pickle_is_not_looked_into(tmp_path: Path):
    loot = tmp_path / "loot"
    path = tmp_path / "a.ckpt"
    path.write_bytes(pickle.dumps(Burglar(loot)))
    with pytest.raises(InputError, match="no checkpoint at all"):
        load_potential(path)
    assert not loot.exists()


@pytest.mark.parametrize(
    "foreign",
    [{"state_dict": {"weight": torch.zeros(2)}}, torch.zeros(3), {"hermnet": 1}, []],
    ids=["weights", "tensor", "a number", "list"],
)
def test_a_foreign_file_of_torch(tmp_path: Path, foreign: Any):
    with pytest.raises(InputError, match=r"a.ckpt is no checkpoint of HermNet"):
        load_potential(save(tmp_path / "a.ckpt", foreign))


def test_a_newer_version_of_the_format(tmp_path: Path):
    newer = content(format=FORMAT + 1, versions={"hermnet": "9.0"})
    message = (
        rf"format {FORMAT + 1}, this HermNet reads 1 to {FORMAT}; "
        "it was written with hermnet 9.0: install that version or a later one"
    )
    with pytest.raises(InputError, match=message):
        load_potential(save(tmp_path / "a.ckpt", newer))


@pytest.mark.parametrize("other", [0, -1, "1", None, True])
def test_a_version_of_the_format_that_never_was(tmp_path: Path, other: Any):
    message = rf"format {other!r}, which no HermNet has written .*with an unknown version of it"
    with pytest.raises(InputError, match=message):
        load_potential(save(tmp_path / "a.ckpt", content(format=other, versions="?")))


@pytest.mark.parametrize("absent", ["recipe", "elements", "mean_neighbors"])
def test_an_incomplete_description(tmp_path: Path, absent: str):
    incomplete = content()
    del incomplete["hermnet"][absent]
    with pytest.raises(InputError, match=rf"is an incomplete checkpoint: KeyError\('{absent}'\)"):
        load_potential(save(tmp_path / "a.ckpt", incomplete))


def test_a_recipe_without_a_model(tmp_path: Path):
    with pytest.raises(InputError, match="its recipe has no model section"):
        load_potential(save(tmp_path / "a.ckpt", content(recipe={"name": "x"})))


def test_weights_that_do_not_fit(tmp_path: Path):
    wider = {"model": asdict(replace(OPTIONS, n_channels=8))}
    with pytest.raises(InputError, match="the weights do not fit the recipe in it") as caught:
        load_potential(save(tmp_path / "a.ckpt", content(recipe=wider)))
    assert "\n" not in str(caught.value)
    fewer = content()
    del fewer["state_dict"]["potential.embedding.weight"]
    with pytest.raises(InputError, match=r"do not fit .*Missing key.*embedding.weight"):
        load_potential(save(tmp_path / "b.ckpt", fewer))


def test_model_options_of_the_future(tmp_path: Path):
    future = {"model": {**asdict(OPTIONS), "charges": True}}
    with pytest.raises(InputError, match="unknown model options charges"):
        load_potential(save(tmp_path / "a.ckpt", content(recipe=future)))
