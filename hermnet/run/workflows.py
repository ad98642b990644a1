"""What fit, validate, test and predict do differently for energies and for properties."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar, final

import ase
import pytorch_lightning as pl
import torch

from hermnet.datamodule import GraphDataModule
from hermnet.errors import InputError
from hermnet.graph import AtomicGraph
from hermnet.model_options import ModelOptions
from hermnet.network import Network
from hermnet.potential import Potential
from hermnet.property_model import PropertyModel
from hermnet.readouts.names import PROPERTY_READOUTS, targets_of
from hermnet.recipes.config import Recipe
from hermnet.run.evaluation import SplitResult, evaluate_properties, evaluate_split
from hermnet.run.plots import ENERGY_CURVES
from hermnet.run.prediction import predict_batches, predict_properties, to_atoms, with_properties
from hermnet.statistics import Statistics
from hermnet.training.finetuning import continued, fit_reference, given_reference
from hermnet.training.freezing import KNOWN
from hermnet.training.losses import loss_function
from hermnet.training.objective import EnergyObjective, Objective
from hermnet.training.options import TrainingOptions
from hermnet.training.property_objective import MEAN_ERROR, PropertyObjective
from hermnet.training.targets import Labels, declared_units

M = TypeVar("M", bound=Network)


class Workflow(ABC, Generic[M]):
    """The steps of a run that depend on what is learned."""

    @abstractmethod
    def check(self, recipe: Recipe, data: GraphDataModule) -> None:
        """Refuse data that lack what the recipe wants to train.

        Raises:
            InputError: it says which label or target is missing.
        """

    @abstractmethod
    def new(self, recipe: Recipe, data: GraphDataModule) -> M:
        """The model of a new run, its statistics taken from the training frames."""

    @abstractmethod
    def objective(self, model: M, training: TrainingOptions, data: GraphDataModule) -> Objective:
        """What training minimizes."""

    @abstractmethod
    def evaluate(self, model: M, data: GraphDataModule, split: str) -> SplitResult:
        """The errors on a split."""

    @abstractmethod
    def predict(self, model: M, graphs: Iterable[AtomicGraph]) -> Iterator[ase.Atoms]:
        """Structures with what the model says of them."""

    @abstractmethod
    def predicted(self, model: M) -> str:
        """What a file of predictions holds, with units."""

    @abstractmethod
    def curves(self, model: M) -> Mapping[str, str]:
        """The validation errors of the learning curve, by column, with names and units."""


def workflow_of(options: ModelOptions) -> Workflow[Any]:
    """The workflow of a recipe's readout."""
    return EnergyWorkflow() if options.readout_name == "energy" else PropertyWorkflow()


@final
class EnergyWorkflow(Workflow[Potential]):
    """Energies, forces and stress."""

    def check(self, recipe: Recipe, data: GraphDataModule) -> None:
        """See `Workflow.check`."""
        wanted = [name for name, weight in recipe.training.weights().items() if weight > 0]
        for split in [name for name in ("train", "val") if name in data.splits()]:
            there, known = data.label_names(split), data.facts(split).known
            for name in wanted:
                if name in there and known[name] == 0:
                    raise InputError(
                        f"training.{name}_weight is positive, but no {split} frame has {name}: "
                        f"all are masked; set it to 0, add {name}, or mend data.keys"
                    )
                if name not in there:
                    raise InputError(
                        f"training.{name}_weight is positive, but not every {split} frame has "
                        f"{name} (labels there: {', '.join(sorted(there)) or 'none'}); set it to 0 "
                        "or add them"
                    )

    def new(self, recipe: Recipe, data: GraphDataModule) -> Potential:
        """See `Workflow.new`."""
        if recipe.model.init_from is not None:
            return _continued_potential(recipe, data)
        facts = Statistics.from_facts(data.facts("train"), recipe.model.reference)
        for note in facts.notes:
            print(f"note: {note}")
        pl.seed_everything(recipe.training.seed, verbose=False)
        potential = Potential(recipe.model, facts.elements, facts.mean_neighbors)
        potential.set_reference(facts.reference, facts.scale)
        return potential

    def objective(
        self, model: Potential, training: TrainingOptions, data: GraphDataModule
    ) -> Objective:
        """See `Workflow.objective`."""
        function = loss_function(training.loss, training.huber_delta)
        return EnergyObjective(model, training.weights(), function, training.force_weights())

    def evaluate(self, model: Potential, data: GraphDataModule, split: str) -> SplitResult:
        """See `Workflow.evaluate`."""
        return evaluate_split(model, data.eval_dataloader(split))

    def predict(self, model: Potential, graphs: Iterable[AtomicGraph]) -> Iterator[ase.Atoms]:
        """See `Workflow.predict`."""
        for graph, prediction in predict_batches(model, graphs, stress=True):
            yield from to_atoms(graph, prediction)

    def predicted(self, model: Potential) -> str:
        """See `Workflow.predicted`."""
        return "energies and forces (eV, eV/A)"

    def curves(self, model: Potential) -> Mapping[str, str]:
        """See `Workflow.curves`."""
        return ENERGY_CURVES


@final
class PropertyWorkflow(Workflow[PropertyModel]):
    """Properties of structures."""

    def check(self, recipe: Recipe, data: GraphDataModule) -> None:
        """See `Workflow.check`."""
        units = _units(recipe.model, data)
        labels = Labels.locate(
            targets_of(recipe.model), units, data.scalar_names, data.scalar_units
        )
        weights = recipe.training.target_weights
        for split in data.splits():
            _refuse_periodic(recipe.model, data, split)
        for split in [name for name in ("train", "val") if name in data.splits()]:
            known = torch.cat([torch.isfinite(labels(graph)) for graph in data.graphs(split)])
            sizes = [target.n_columns for target in labels.targets]
            for target, there in zip(labels.targets, known.split(sizes, dim=1), strict=True):
                if weights.get(target.name, 1.0) > 0 and not bool(there.any()):
                    raise InputError(f"no {split} frame has a value of '{target.name}'")

    def new(self, recipe: Recipe, data: GraphDataModule) -> PropertyModel:
        """See `Workflow.new`."""
        graphs = data.graphs("train")
        facts = Statistics.from_facts(data.facts("train"))
        units = _units(recipe.model, data)
        model, is_done = _new_property_model(recipe, facts, units)
        if is_done:
            return model
        labels = _labels(model, data)
        for note in model.calibrate(graphs, torch.cat([labels(graph) for graph in graphs])):
            print(f"note: {note}")
        return model

    def objective(
        self, model: PropertyModel, training: TrainingOptions, data: GraphDataModule
    ) -> Objective:
        """See `Workflow.objective`."""
        function = loss_function(training.loss, training.huber_delta)
        return PropertyObjective(model, _labels(model, data), training.target_weights, function)

    def evaluate(self, model: PropertyModel, data: GraphDataModule, split: str) -> SplitResult:
        """See `Workflow.evaluate`."""
        _refuse_periodic(model.options, data, split)
        return evaluate_properties(model, data.eval_dataloader(split), _labels(model, data))

    def predict(self, model: PropertyModel, graphs: Iterable[AtomicGraph]) -> Iterator[ase.Atoms]:
        """See `Workflow.predict`."""
        for graph, prediction in predict_properties(model, graphs):
            if model.readout.needs_molecules and bool(graph.pbc.any()):
                raise InputError(_no_molecule(model.options, "a frame to predict"))
            yield from with_properties(model, graph, prediction)

    def predicted(self, model: PropertyModel) -> str:
        """See `Workflow.predicted`."""
        return ", ".join(f"{name} ({unit or '1'})" for name, unit in model.units.items())

    def curves(self, model: PropertyModel) -> Mapping[str, str]:
        """See `Workflow.curves`."""
        curves = {f"val_{n}_mae": f"{n}, {unit}".strip(", ") for n, unit in model.units.items()}
        return (
            curves if len(curves) == 1 else {f"val_{MEAN_ERROR}": "mean of MAE / scale", **curves}
        )


def _continued_potential(recipe: Recipe, data: GraphDataModule) -> Potential:
    options, facts = recipe.model, data.facts("train")
    start = continued(options, facts.elements, {}, recipe.training.seed)
    assert isinstance(start.model, Potential)
    if not start.has_readout:  # its features are those of a model of properties
        found = Statistics.from_facts(facts, options.reference)
        start.model.set_reference(found.reference, found.scale)
    elif not isinstance(options.reference, str):
        given_reference(start.model, options.reference)
    else:
        keeps = options.reference == "keep" or KNOWN in recipe.training.freeze
        for note in fit_reference(start.model, start.known if keeps else (), data):
            print(f"note: {note}")
    return start.model


def _new_property_model(
    recipe: Recipe, facts: Statistics, units: Mapping[str, str]
) -> tuple[PropertyModel, bool]:
    """A model, and whether its readout is that of a checkpoint and needs no calibration."""
    if recipe.model.init_from is None:
        pl.seed_everything(recipe.training.seed, verbose=False)
        return PropertyModel(recipe.model, facts.elements, facts.mean_neighbors, units), False
    start = continued(recipe.model, facts.elements, units, recipe.training.seed)
    assert isinstance(start.model, PropertyModel)
    return start.model, start.has_readout


def _units(options: ModelOptions, data: GraphDataModule) -> dict[str, str]:
    return declared_units(targets_of(options), data.scalar_names, data.scalar_units)


def _labels(model: PropertyModel, data: GraphDataModule) -> Labels:
    return Labels.locate(model.targets, model.units, data.scalar_names, data.scalar_units)


def _refuse_periodic(options: ModelOptions, data: GraphDataModule, split: str) -> None:
    if PROPERTY_READOUTS[options.readout_name].needs_molecules:
        for index, graph in enumerate(data.graphs(split)):
            if bool(graph.pbc.any()):
                raise InputError(_no_molecule(options, f"{split} frame {index}"))


def _no_molecule(options: ModelOptions, what: str) -> str:
    return f"model.readout: {options.readout_name} is for molecules, but {what} is periodic"
