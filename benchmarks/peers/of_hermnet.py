"""HermNet itself, as a contender: `ModelOptions` and the form, eager, compiled or a loop.

What is exported is no model to train: `simulate.py` makes a calculator of it.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from model import Model
from torch import Tensor

from hermnet.compiled import CompiledEvaluator
from hermnet.graph import AtomicGraph
from hermnet.kernels.choice import plain_operators
from hermnet.model_options import ModelOptions
from hermnet.potential import Potential, evaluate_eagerly


@final
class HermNet(Model):
    """A potential and its graph."""

    def __init__(self, potential: Potential, graph: AtomicGraph) -> None:
        self.potential = potential
        self.graph = graph

    def parameters(self) -> Any:
        """See `Model.parameters`."""
        return self.potential.parameters()

    def __call__(self, training: bool) -> tuple[Tensor, Tensor]:
        """See `Model.__call__`."""
        with torch.set_grad_enabled(training):
            prediction = self.potential(self.graph)
        return prediction.energy, prediction.forces

    @contextmanager
    def eagerly(self) -> Iterator[None]:
        """See `Model.eagerly`."""
        before, self.potential.evaluate = self.potential.evaluate, evaluate_eagerly
        with plain_operators():
            yield
        self.potential.evaluate = before

    def formulas(self) -> dict[Any, Any]:
        """See `Model.formulas`."""
        ops = torch.ops.hermnet
        return {
            ops.segment_matmul: lambda rows, weights, offsets, **_: (
                2 * rows[0] * weights[1] * weights[2]
            ),
            ops.segment_outer: lambda rows, others, offsets, **_: 2 * rows[0] * rows[1] * others[1],
        }


def build(arrays: dict[str, np.ndarray], model: dict[str, Any], device: torch.device) -> Model:
    """A potential with random weights; ``form`` says how it is evaluated."""
    # else another form would be timed
    warnings.filterwarnings("error", message="compilation failed|no CUDA graphs")
    options = dict(model)
    form = options.pop("form")
    tensors = {name: torch.from_numpy(value) for name, value in arrays.items()}
    graph = AtomicGraph(**tensors).to(device)
    elements = tuple(int(z) for z in np.unique(arrays["atomic_numbers"]))
    elements = tuple(range(1, options.pop("n_elements", 0) + 1)) or elements
    potential = Potential(ModelOptions(**options), elements, graph.n_edges / graph.n_atoms)
    if form == "loop":
        sys.path.append(str(Path(__file__).parents[1]))
        from loop import loop_over

        loop_over(potential)
    if form == "compiled":
        potential.evaluate = CompiledEvaluator()
    return HermNet(potential.to(device), graph)
