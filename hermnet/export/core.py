"""The compiled part of an export: a potential's weights and its traced energy and gradient."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, final

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.export import Dim, ExportedProgram
from torch.utils import _pytree as pytree

from hermnet.compiled import constant_leaves, trace_energy_and_gradient
from hermnet.derivatives import edge_vectors
from hermnet.graph import AtomicGraph
from hermnet.kernels.library import library_of
from hermnet.neighbors import graph_of, with_neighbors
from hermnet.potential import Potential

_SPACING = 0.55  # of the example's atoms, in terms of the cutoff
_LEFT_OUT = 7  # one of so many edges


@final
class Core(nn.Module):
    """``(vectors, weights, *leaves of indices) -> (atomic energies, gradient)``.

    The gradient is that of the atomic energies' weighted sum by the vectors.

    Args:
        potential: whose weights become constants.
        graph: an example to trace with.
        fused: whether to call kernels of our own.
    """

    def __init__(self, potential: Potential, graph: AtomicGraph, fused: bool) -> None:
        super().__init__()
        tensors = {**dict(potential.named_parameters()), **dict(potential.named_buffers())}
        vectors, weights, *_ = core_inputs(potential, graph)
        indices = potential.two_way_indices(graph)
        self.graph = trace_energy_and_gradient(
            potential, tensors, vectors, indices, fused=fused, weights=weights
        )
        self.names = [f"constant_{k}" for k in range(len(tensors))]
        for name, tensor in zip(self.names, tensors.values(), strict=True):
            self.register_buffer(name, tensor.detach())

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        constants = [self.get_buffer(name) for name in self.names]
        energies, gradient = self.graph(*constants, *inputs)
        return energies, gradient


def core_inputs(potential: Potential, graph: AtomicGraph) -> tuple[Tensor, ...]:
    """What `Core` takes for a structure: all of its weights are one."""
    indices = potential.two_way_indices(graph)
    vectors = edge_vectors(graph).to(potential.dtype)
    weights = torch.ones_like(indices.types, dtype=torch.float64)
    return (vectors, weights, *pytree.tree_leaves(indices))


def core_program(potential: Potential, fused: bool = True) -> ExportedProgram:
    """The core with symbolic numbers of atoms, edges and copies, as torch exports it.

    Args:
        potential: the potential.
        fused: whether to call kernels of our own where there are some.
    """
    graph = example(potential.elements, potential.cutoff)
    graph = graph.to(potential.embedding.weight.device)
    inputs = core_inputs(potential, graph)
    constant = [False, False, *constant_leaves(potential.two_way_indices(graph))]
    sizes: list[dict[int, Any]] = [{} if one else {0: Dim.AUTO} for one in constant]
    core = Core(potential, graph, fused)
    return torch.export.export(core, inputs, dynamic_shapes=(tuple(sizes),), strict=False)


def kernels_of(program: ExportedProgram) -> tuple[str, ...]:
    """The libraries of `hermnet.kernels.library` that a program on a CPU calls."""
    targets = (node.target for node in program.graph.nodes)
    names = {t._opname for t in targets if isinstance(t, OpOverload) and t.namespace == "hermnet"}
    return tuple(sorted({found for found in map(library_of, names) if found is not None}))


def example(elements: tuple[int, ...], cutoff: float) -> AtomicGraph:
    """A structure of all elements in which no two sizes are equal by chance.

    Tracing would take such sizes for one: hence an atom out of reach, and edges that are left out
    in one direction.
    """
    n_atoms = max(13, 2 * len(elements) + 1)
    per_side = math.ceil(n_atoms ** (1 / 3))
    grid = torch.cartesian_prod(*[torch.arange(per_side, dtype=torch.float64)] * 3)
    noise = torch.rand(grid.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    positions = (grid + 0.3 * noise)[:n_atoms] * (_SPACING * cutoff)
    positions[-1] += 100.0 * cutoff
    numbers = torch.tensor(elements).repeat(n_atoms)[:n_atoms]
    nowhere = torch.zeros(3, 3)
    arrays = (t.numpy() for t in (numbers, positions, nowhere, torch.zeros(3, dtype=torch.bool)))
    graph = with_neighbors(graph_of(*arrays), cutoff)
    kept = torch.arange(graph.n_edges) % _LEFT_OUT != 0
    links = {name: getattr(graph, name)[kept] for name in ("centers", "neighbors", "shifts")}
    return replace(graph, **links)
