"""The objective of a property model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import final

import torch
from torch import Tensor

from hermnet.graph import AtomicGraph
from hermnet.property_model import PropertyModel, PropertyPrediction
from hermnet.training.losses import LossTerm
from hermnet.training.objective import LossFunction, Objective
from hermnet.training.targets import Labels

MEAN_ERROR = "mae_over_scale"


@final
class PropertyErrors:
    """Running sums of absolute and squared errors of each target, in its unit.

    Args:
        model: says which columns belong to which target.
        labels: reads the labels off a graph.
    """

    def __init__(self, model: PropertyModel, labels: Labels) -> None:
        self._model = model
        self._labels = labels
        # (n_targets, 3) float64: sum |e|, sum e^2, count
        self.sums = torch.zeros(len(model.targets), 3, dtype=torch.float64)

    def update(self, prediction: PropertyPrediction, graph: AtomicGraph) -> None:
        """Add a batch; values without label are left out."""
        errors, known = difference(prediction.values.detach(), self._labels(graph))
        columns = zip(
            self._model.columns(errors).values(), self._model.columns(known).values(), strict=True
        )
        sums = [
            torch.stack((error.abs().sum(), error.square().sum(), there.sum().to(error.dtype)))
            for error, there in columns
        ]
        self.sums = self.sums.to(errors.device) + torch.stack(sums)

    def reduce(self, over_processes: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """``<target>_mae`` and ``<target>_rmse`` of each target that has labels.

        Args:
            over_processes: adds a tensor up over all processes.
        """
        errors = {}
        sums = over_processes(self.sums.to(self._model.internal.device)).tolist()
        for target, (absolute, squared, count) in zip(self._model.targets, sums, strict=True):
            if count:
                errors[f"{target.name}_mae"] = absolute / count
                errors[f"{target.name}_rmse"] = (squared / count) ** 0.5
        return errors


@final
class PropertyObjective(Objective):
    """Properties, each divided by its scale in the loss.

    Args:
        model: the model, calibrated.
        labels: reads the labels off a graph.
        weights: of the targets, by name; 1 for those that are not named.
        function: the loss.
    """

    def __init__(
        self,
        model: PropertyModel,
        labels: Labels,
        weights: Mapping[str, float],
        function: LossFunction,
    ) -> None:
        self.model = model
        self._labels = labels
        self._weights = {target.name: weights.get(target.name, 1.0) for target in model.targets}
        self._function = function

    def predict(self, graph: AtomicGraph) -> PropertyPrediction:
        """See `Objective.predict`."""
        prediction: PropertyPrediction = self.model(graph)
        return prediction

    def output(self, prediction: PropertyPrediction) -> Tensor:
        """See `Objective.output`."""
        return prediction.values

    def weights(self) -> dict[str, float]:
        """See `Objective.weights`."""
        return self._weights

    def terms(self, prediction: PropertyPrediction, graph: AtomicGraph) -> dict[str, LossTerm]:
        """See `Objective.terms`; values without label count for nothing."""
        errors, known = difference(prediction.values, self._labels(graph))
        there = self.model.columns(known)
        terms = {}
        for (name, error), scale in zip(
            self.model.columns(errors).items(), self.model.target_scales, strict=True
        ):
            total = self._function(error / scale, torch.zeros_like(error)).sum()
            terms[name] = LossTerm(total, there[name].sum())
        return terms

    def errors(self) -> PropertyErrors:
        """See `Objective.errors`."""
        return PropertyErrors(self.model, self._labels)

    def logged(self, errors: Mapping[str, float]) -> dict[str, float]:
        """In the targets' units, and the mean over the targets of MAE / scale."""
        scales = zip(self.model.targets, self.model.target_scales.tolist(), strict=True)
        relative = [
            errors[f"{target.name}_mae"] / scale
            for target, scale in scales
            if f"{target.name}_mae" in errors and self._weights[target.name] > 0
        ]
        if not relative:
            return dict(errors)
        return {**errors, MEAN_ERROR: sum(relative) / len(relative)}

    def monitor(self) -> str:
        """The error of a single target; of several the mean of MAE / scale."""
        trained = [name for name, weight in self._weights.items() if weight > 0]
        return f"{trained[0]}_mae" if len(trained) == 1 else MEAN_ERROR


def difference(values: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """``values - labels``, zero where a label is NaN, and where one is known; all of one shape."""
    known = torch.isfinite(labels)
    return torch.where(known, values - labels.nan_to_num(), 0.0), known
