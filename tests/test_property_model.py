"""What a property model takes from its training set, and its units."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import properties
from hermnet.errors import InputError
from hermnet.graph import AtomicGraph
from hermnet.model_options import ModelOptions
from hermnet.models import make_model
from hermnet.potential import Potential
from hermnet.property_model import PropertyModel
from hermnet.readouts.baseline import WeightedSums
from hermnet.readouts.names import targets_of
from hermnet.readouts.readout import Target
from hermnet.training.targets import Labels, declared_units
from hermnet.units import to_internal

DATA = properties.Molecules()
NAMES, UNITS = DATA.scalar_names, DATA.scalar_units


@pytest.fixture(scope="module")
def graphs() -> list[AtomicGraph]:
    data = properties.Molecules()
    data.set_cutoff(properties.CUTOFF)
    return data.graphs("train")


def calibrated(
    readout: str | dict[str, Any], graphs: list[AtomicGraph]
) -> tuple[PropertyModel, list[str]]:
    """A new model, calibrated on the frames; its network says nothing."""
    chosen = properties.READOUTS[readout] if isinstance(readout, str) else readout
    options = ModelOptions(readout=chosen, n_channels=4, n_layers=0, cutoff=3.0, dtype="float64")
    units = declared_units(targets_of(options), NAMES, UNITS)
    model = PropertyModel(options, properties.ELEMENTS, 8.0, units)
    pick = Labels.locate(model.targets, model.units, NAMES, UNITS)
    notes = model.calibrate(graphs, torch.cat([pick(graph) for graph in graphs]))
    for parameter in model.readout.parameters():
        torch.nn.init.zeros_(parameter)
    return model, notes


def column(graphs: list[AtomicGraph], name: str) -> np.ndarray:
    return np.array([float(graph.scalars[0, NAMES.index(name)]) for graph in graphs])


def compositions(graphs: list[AtomicGraph]) -> np.ndarray:
    rows = [[(g.atomic_numbers == z).sum() for z in properties.ELEMENTS] for g in graphs]
    return np.array(rows, dtype=float)


def said(model: PropertyModel, graphs: list[AtomicGraph]) -> np.ndarray:
    with torch.no_grad():
        return np.concatenate([model(graph).values.numpy() for graph in graphs])


def test_an_extensive_target_starts_from_least_squares(graphs: list[AtomicGraph]):
    model, notes = calibrated("sum", graphs)
    u0, counts = column(graphs, "u0"), compositions(graphs)
    expected = np.linalg.lstsq(counts, u0, rcond=None)[0]
    np.testing.assert_allclose(model.readout.baseline.per_element[:, 0], expected, rtol=1e-8)
    np.testing.assert_allclose(said(model, graphs)[:, 0], counts @ expected, rtol=1e-10)
    rest = u0 - counts @ expected
    assert model.target_scales.item() == pytest.approx(rest.std(), rel=1e-5)
    per_atom = (rest / counts.sum(axis=1)).std()
    assert model.readout.baseline.scale.item() == pytest.approx(per_atom, rel=1e-5)
    assert notes == []


def test_an_intensive_target_starts_from_its_mean(graphs: list[AtomicGraph]):
    model, _ = calibrated("mean", graphs)
    gap = column(graphs, "gap")
    np.testing.assert_allclose(said(model, graphs)[:, 0], gap.mean(), rtol=1e-12)
    assert model.target_scales[0].item() == pytest.approx(gap.std(), rel=1e-9)
    assert model.readout.baseline.scale[0].item() == pytest.approx(gap.std(), rel=1e-9)


def test_references_that_are_given(graphs: list[AtomicGraph]):
    given = {"H": -13.0, "C": -1000.0, "O": -1010.0}
    spec = {**properties.READOUTS["sum"], "references": {"u0": given}}
    model, _ = calibrated(spec, graphs)
    expected = compositions(graphs) @ np.array(list(given.values()))
    np.testing.assert_allclose(said(model, graphs)[:, 0], expected, rtol=1e-12)
    rest = column(graphs, "u0") - expected
    assert model.target_scales.item() == pytest.approx(rest.std(), rel=1e-9)
    del given["C"], given["O"]
    with pytest.raises(InputError, match=r"model.readout.references.u0: no value for C, O"):
        calibrated(spec, graphs)


def test_the_spatial_extent_starts_from_electrons_of_each_element(graphs: list[AtomicGraph]):
    """The labels of the test's data count as many as the atomic number."""
    model, notes = calibrated("extent", graphs)
    numbers = model.readout.baseline.per_element[:, 0]
    np.testing.assert_allclose(numbers, properties.ELEMENTS, rtol=1e-6)
    np.testing.assert_allclose(said(model, graphs)[:, 0], column(graphs, "r2"), rtol=1e-6)
    assert notes == ["nothing of r2 is left to learn: its scale is 1"]


def test_units_are_those_of_the_labels(graphs: list[AtomicGraph]):
    model, _ = calibrated("polarizability", graphs)
    assert model.units == {"alpha": "a0^3"}
    alpha = column(graphs, "alpha")
    assert abs(said(model, graphs)[:, 0] - alpha).max() < 0.1 * alpha.std()
    per_atom = model.readout.baseline.per_element[:, 0].mean().item()
    assert per_atom == pytest.approx(1.0, abs=0.1), "inside it is A^3"


def test_the_dipole_has_the_scale_of_its_labels(graphs: list[AtomicGraph]):
    model, _ = calibrated("norm", graphs)
    mu = column(graphs, "mu")  # D
    assert model.readout.scale.item() * 4.80320 == pytest.approx((mu**2).mean() ** 0.5, rel=1e-5)
    assert model.target_scales.item() == pytest.approx(mu.std(), rel=1e-9)
    model, _ = calibrated("vector", graphs)
    assert model.units == {"dipole": "e A"}
    labels = np.concatenate([graph.dipole.numpy() for graph in graphs])
    assert model.target_scales.item() == pytest.approx(labels.std(), rel=1e-9)


def test_frames_without_a_label_do_not_count(graphs: list[AtomicGraph]):
    nan = torch.full_like(graphs[0].scalars, torch.nan)
    some = [replace(graphs[0], scalars=nan), replace(graphs[1], scalars=None), *graphs[2:]]
    found, _ = calibrated("mean", some)
    expected, _ = calibrated("mean", graphs[2:])
    np.testing.assert_allclose(said(found, graphs), said(expected, graphs), rtol=1e-10)
    assert torch.equal(found.target_scales, expected.target_scales)
    bare = [replace(graph, scalars=nan) for graph in graphs]
    for readout in ("mean", "sum", "extent", "norm", "polarizability"):
        with pytest.raises(InputError, match=r"no training frame has a value of '\w+'"):
            calibrated(readout, bare)


def test_compositions_that_tell_nothing_apart(graphs: list[AtomicGraph]):
    model, notes = calibrated("sum", graphs[::4])  # methanol only
    assert "do not determine what each element contributes to u0 (rank 1 of 3)" in notes[0]
    assert abs(said(model, graphs[::4])[:, 0] - column(graphs[::4], "u0")).max() < 0.1


def test_weights_that_vanish_have_no_scale():
    fit = WeightedSums(torch.zeros(3, 1)).given(Target("r2"), torch.arange(3.0), torch.zeros(1), [])
    assert (fit.scale, fit.residual) == (1.0, 1.0)
    assert "its scale is 1" in fit.notes[0]


def test_labels_are_found_by_name_and_converted(graphs: list[AtomicGraph]):
    targets = (Target("mu", "dipole"), Target("dipole", "dipole", 3, True), Target("gap"))
    units = {"mu": "e A", "dipole": "e A", "gap": "eV"}
    pick = Labels.locate(targets, units, NAMES, UNITS)
    found = pick(graphs[0])
    assert found.shape == (1, 5)
    length = graphs[0].dipole.norm()  # the label mu of the test's data is this in D
    assert found[0, 0].item() == pytest.approx(length.item(), rel=1e-6)
    assert torch.equal(found[:, 1:4], graphs[0].dipole)
    assert found[0, 4] == graphs[0].scalars[0, 0]
    assert torch.isnan(pick(graphs[0].without_labels())).all()


def test_labels_that_the_data_do_not_have():
    message = r"model.readout: the data have no scalar 'hoom'; did you mean 'homo'\? .*gap, homo"
    with pytest.raises(InputError, match=message):
        declared_units((Target("hoom"),), ("homo", "gap"), ("eV", "eV"))
    with pytest.raises(InputError, match=r"no scalar 'gap'; \(known: none\)"):
        declared_units((Target("gap"),), (), ())
    with pytest.raises(InputError, match="the model's 'gap' is in 'eV', that of the data in 'meV'"):
        Labels.locate((Target("gap"),), {"gap": "eV"}, ("gap",), ("meV",))


def test_a_unit_that_no_readout_converts():
    options = properties.options("norm")
    with pytest.raises(InputError, match=r"the target 'mu': unknown unit 'Db' of dipole; did you"):
        PropertyModel(options, (1,), 1.0, {"mu": "Db"})


@pytest.mark.parametrize(
    ("quantity", "unit", "factor"),
    [("dipole", "D", 1 / 4.80320), ("area", "a0^2", 0.280028), ("volume", "a0^3", 0.148185)],
)
def test_units_of_properties(quantity: str, unit: str, factor: float):
    assert to_internal(quantity, unit) == pytest.approx(factor, rel=1e-5)


def test_the_readout_decides_which_model():
    assert isinstance(make_model(ModelOptions(n_channels=2), (1,), 1.0, {}), Potential)
    model = make_model(properties.options("mean"), (1,), 1.0, {"gap": "eV"})
    assert isinstance(model, PropertyModel)
    assert model.units == {"gap": "eV", "u0": ""}


def test_an_unknown_element():
    graph = replace(properties.Molecules().frame(0), atomic_numbers=torch.full((6,), 7))
    with pytest.raises(InputError, match="this model does not know N; it was trained on H, C, O"):
        properties.random_model("sum")(graph)
