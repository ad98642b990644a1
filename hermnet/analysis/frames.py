"""The frames that an analysis looks at, and how wrong a model is on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from hermnet.datamodule import GraphDataModule
from hermnet.elements import symbol
from hermnet.errors import InputError
from hermnet.graph import AtomicGraph, collate
from hermnet.network import Network
from hermnet.potential import Potential
from hermnet.property_model import PropertyModel
from hermnet.run.evaluation import SplitResult, columns, evaluate_properties, evaluate_split
from hermnet.run.prediction import batches
from hermnet.training.targets import Labels

_BATCH = 8000  # edges, more or less


@dataclass(frozen=True)
class Errors:
    """Mean absolute errors.

    Attributes:
        targets: by target.
        served: of the forces on the atoms that a relation changes, by its name; meV/A.
        n_served: how many atoms these are; one may be changed by several relations.
    """

    targets: dict[str, float]
    served: dict[str, float]
    n_served: dict[str, int]


class Frames:
    """Some frames of a data set, in batches on the model's device.

    Args:
        data: with the model's cutoff.
        model: whose errors are asked for.
        split: name of a split; by default the first test set, else the validation frames, else the
            training frames.
        n_frames: how many frames to take, evenly over the split.

    Raises:
        InputError: for a split that there is not, or without any label of what the model predicts;
            for an element that the model does not know.
    """

    def __init__(
        self, data: GraphDataModule, model: Network, split: str | None, n_frames: int
    ) -> None:
        self.split = _default_split(data) if split is None else split
        graphs = data.graphs(self.split)
        count = min(n_frames, len(graphs))
        indices = np.linspace(0, len(graphs) - 1, count).round().astype(int).tolist()
        self._model, self._labels = model, None
        if isinstance(model, PropertyModel):
            self._labels = Labels.locate(
                model.targets, model.units, data.scalar_names, data.scalar_units
            )
        chosen = [graphs[k] for k in indices]
        _check_elements(chosen, model, self.split)
        self.n_frames, self.n_all = count, len(graphs)
        device = next(model.parameters()).device
        size = _frames_of_a_batch(chosen)
        self.batches = [graph.to(device) for graph in batches(chosen, size)]
        few = np.linspace(0, count - 1, size).round().astype(int).tolist()
        self.typical = collate([chosen[k] for k in few]).to(device)  # a batch of all kinds
        if isinstance(model, Potential) and not _has_labels(chosen):
            raise InputError(f"the {self.split} frames have no labels of what the model predicts")
        first = self._evaluate()
        self.units = {target: unit for target, (_, unit) in columns({"": first}).items()}
        self._keys = {target: f"{key}_mae" for target, (key, _) in columns({"": first}).items()}
        self.errors = self._errors(first)
        if not self.errors.targets:
            raise InputError(f"the {self.split} frames have no labels of what the model predicts")

    @property
    def main_target(self) -> str:
        """The target that tells most: the forces where there are some."""
        return "forces" if "forces" in self.units else next(iter(self.units))

    def errors_now(self) -> Errors:
        """The errors of the model as it is at this moment."""
        return self._errors(self._evaluate())

    def n_edges(self) -> list[int]:
        """How many edges of the frames each relation of the model has, in their order."""
        served = self._model.router.served
        counts = torch.zeros(len(self._model.relation_labels), dtype=torch.int64)
        for batch in self.batches:
            for relations, union in zip(served, self._model.indices(batch).expansions, strict=True):
                sizes = union.offsets.diff(prepend=union.offsets.new_zeros(1))
                counts[list(relations)] += sizes.view(len(relations), -1).sum(dim=1).cpu()
        found: list[int] = counts.tolist()
        return found

    def _evaluate(self) -> SplitResult:
        if isinstance(self._model, PropertyModel):
            assert self._labels is not None
            return evaluate_properties(self._model, self.batches, self._labels)
        assert isinstance(self._model, Potential)
        return evaluate_split(self._model, self.batches)

    def _errors(self, result: SplitResult) -> Errors:
        served = result.forces_by.get("relations", {})
        return Errors(
            {target: result.errors[key] for target, key in self._keys.items()},
            {label: error.mae for label, error in served.items()},
            {label: error.n_atoms for label, error in served.items()},
        )


def _default_split(data: GraphDataModule) -> str:
    there = data.splits()
    tests = [name for name in there if name not in ("train", "val", "predict")]
    return next((name for name in (*tests, "val", "train") if name in there), "test")


def _check_elements(graphs: Sequence[AtomicGraph], model: Network, split: str) -> None:
    there = torch.cat([graph.atomic_numbers for graph in graphs]).unique().tolist()
    strangers = [symbol(z) for z in there if z not in model.elements]
    if strangers:
        raise InputError(
            f"the {split} frames have {', '.join(strangers)}, which the model does not know; "
            f"it knows {', '.join(map(symbol, model.elements))}"
        )


def _has_labels(graphs: Sequence[AtomicGraph]) -> bool:
    labels = (label for g in graphs for label in (g.energy, g.forces, g.stress))
    return any(label is not None and not bool(label.isnan().all()) for label in labels)


def _frames_of_a_batch(graphs: Sequence[AtomicGraph]) -> int:
    mean = max(sum(graph.n_edges for graph in graphs) / len(graphs), 1.0)
    return max(1, int(_BATCH / mean))
