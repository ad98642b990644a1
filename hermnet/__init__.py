"""HermNet: potential energy surfaces from heterogeneous relational message passing networks.

The public names below are imported when they are first used, so that ``import hermnet`` and
``hermnet --help`` do not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import Any

# Every public name and the module it lives in.
_PUBLIC = {
    "InputError": "hermnet.errors",
    "InputErrors": "hermnet.errors",
    "Interrupted": "hermnet.errors",
    "AtomicGraph": "hermnet.graph",
    "collate": "hermnet.graph",
    "segment_backend": "hermnet.segments",
    "graph_from_atoms": "hermnet.neighbors",
    "with_neighbors": "hermnet.neighbors",
    "SkinNeighbors": "hermnet.skin",
    "DATAMODULES": "hermnet.datamodule",
    "GraphDataModule": "hermnet.datamodule",
    "RelationalGraph": "hermnet.geometry",
    "SUBNETS": "hermnet.subnetwork",
    "Interaction": "hermnet.subnetwork",
    "Shape": "hermnet.subnetwork",
    "ModelOptions": "hermnet.model_options",
    "Potential": "hermnet.potential",
    "Prediction": "hermnet.potential",
    "PropertyModel": "hermnet.property_model",
    "PropertyPrediction": "hermnet.property_model",
    "Statistics": "hermnet.statistics",
    "CompiledEvaluator": "hermnet.compiled",
    "PotentialTask": "hermnet.training.task",
    "TrainingOptions": "hermnet.training.options",
    "load_model": "hermnet.checkpoints.checkpoint",
    "load_potential": "hermnet.checkpoints.checkpoint",
    "HermNetCalculator": "hermnet.calculator",
    "ExportedPotential": "hermnet.export.exported",
    "load_exported": "hermnet.export.exported",
    "predict_batches": "hermnet.run.prediction",
    "predict_properties": "hermnet.run.prediction",
    "to_atoms": "hermnet.run.prediction",
    "SplitResult": "hermnet.run.evaluation",
    "evaluate_properties": "hermnet.run.evaluation",
    "evaluate_split": "hermnet.run.evaluation",
    "Recipe": "hermnet.recipes.config",
    "resolve": "hermnet.recipes.config",
    "Run": "hermnet.run.commands",
    "fit": "hermnet.run.commands",
    "ablate": "hermnet.ablation.running",
    "analyze": "hermnet.analysis.analysis",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value: Any = version("hermnet")
    elif name in _PUBLIC:
        value = getattr(import_module(_PUBLIC[name]), name)
    else:
        raise AttributeError(f"module 'hermnet' has no attribute '{name}'")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
