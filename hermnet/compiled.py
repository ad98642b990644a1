"""Compiled evaluation: energies and edge gradients as one fused, size-independent graph.

`torch.compile` cannot see a gradient inside the function it compiles and differentiate that again,
as a loss on forces needs. So the energy *and its gradient* are first traced into one graph of plain
operators (`make_fx`, with symbolic numbers of atoms and edges); that graph is an ordinary function
of parameters and vectors, which `torch.compile` takes, and whose backward pass is the second
derivative.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import (
    DimDynamic,
    ShapeEnv,
    StatelessSymbolicContext,
)
from torch.utils import _pytree as pytree

from hermnet.cuda_graphs import Replayed
from hermnet.grouped import tracing
from hermnet.kernels.choice import plain_operators
from hermnet.network import Indices
from hermnet.potential import Potential, evaluate_eagerly

_LOG = logging.getLogger("hermnet.compiled")
_TOLERANCE = 1e-2  # of the compiled gradient, relative; short floats are far below
_SMALL = 1e-6  # eV/A


class _Energy(nn.Module):
    """`Potential.learned_energies` as a forward, so that it can be called with other parameters."""

    def __init__(self, potential: Potential) -> None:
        super().__init__()
        self.potential = potential

    def forward(self, vectors: Tensor, indices: Indices) -> Tensor:
        return self.potential.learned_energies(vectors, indices)


class CompiledEvaluator:
    """An evaluator for `Potential.evaluate` that traces and compiles at its first call.

    It is traced once for all sizes. If that fails, it says why in one warning and goes on eagerly.
    """

    def __init__(self) -> None:
        self._function: Any = None
        self._failed = False
        self._owner: Potential | None = None
        self._places: list[tuple[str, dict[str, Any], str]] = []

    def __reduce__(self) -> tuple[type[CompiledEvaluator], tuple[()]]:
        return CompiledEvaluator, ()  # compiled code stays; a copy traces anew

    def __call__(
        self, potential: Potential, vectors: Tensor, indices: Indices, create_graph: bool
    ) -> tuple[Tensor, Tensor]:
        """See `hermnet.potential.evaluate_eagerly`."""
        leaves = pytree.tree_leaves(indices)
        if self._failed or vectors.requires_grad or not _traceable(vectors, indices, leaves):
            return evaluate_eagerly(potential, vectors, indices, create_graph)
        try:
            tensors = self._tensors(potential)
            inputs = *tensors.values(), vectors, *leaves
            with torch.set_grad_enabled(create_graph):
                if self._function is not None:
                    energies, gradient = self._function(*inputs)
                else:
                    graph = trace_energy_and_gradient(potential, tensors, vectors, indices, True)
                    self._function, found = _compiled(graph, len(tensors), inputs)
                    energies, gradient = found
                    _compare(gradient, evaluate_eagerly(potential, vectors, indices, False)[1])
        except Exception as error:  # whatever the compiler cannot do, eager can
            self._failed = True
            reason = str(error).strip().splitlines()[0]
            warnings.warn(f"compilation failed, going on eagerly: {reason}", stacklevel=2)
            return evaluate_eagerly(potential, vectors, indices, create_graph)
        return energies, gradient

    def _tensors(self, potential: Potential) -> dict[str, Tensor]:
        """Parameters and buffers by name; to walk through the modules each time takes long."""
        if self._owner is not potential:
            self._owner = potential
            self._places = [
                (f"{prefix}.{name}" if prefix else name, own, name)
                for prefix, module in potential.named_modules()
                for own in (module._parameters, module._buffers)
                for name, tensor in own.items()
                if tensor is not None
            ]
        found = {path: own[name] for path, own, name in self._places}
        return cast("dict[str, Tensor]", found)


def _compiled(
    graph: GraphModule, n_tensors: int, inputs: tuple[Tensor, ...]
) -> tuple[Any, tuple[Tensor, Tensor]]:
    """The graph compiled in the best way that works, and what it gives for these inputs."""
    with _quiet():
        if inputs[n_tensors].is_cuda:
            function: Any = Replayed(_compile(graph, {}), n_tensors)
            return function, function(*inputs)
        try:
            function = _compile(graph, _without_python())
            return function, function(*inputs)
        except Exception as error:  # torch says that its wrapper in C++ is an experiment
            _LOG.info("calls of compiled code go through Python: %s", error)
            function = _compile(graph, {})
            return function, function(*inputs)


def _compile(graph: GraphModule, more: dict[str, Any]) -> Any:
    # sizes are right by construction; to check each takes as long as small kernels
    return torch.compile(graph, dynamic=True, options={"size_asserts": False, **more})


def _without_python() -> dict[str, Any]:
    """Options with which nothing is called through Python, as far as torch and kernels let us."""
    from hermnet.kernels.direct import Direct, direct_operators  # late: imports torch's compiler

    logging.getLogger("torch._inductor.ir").addFilter(_is_news)
    direct = {"post_grad_custom_post_pass": Direct()} if direct_operators() else {}
    return {"cpp_wrapper": True, **direct}


def _is_news(record: logging.LogRecord) -> bool:
    """False where torch says of each operator that it calls it in a way of several."""
    return "missing a c-shim" not in record.getMessage()


@contextmanager
def _quiet() -> Iterator[None]:
    """Whether to multiply in TensorFloat32 is for `training.matmul_precision` to say."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "TensorFloat32 tensor cores")
        yield


def _compare(found: Tensor, expected: Tensor) -> None:
    """Raise where compiled code is another function: torch's compiler has had such faults."""
    error = (found.detach() - expected).abs().max() / expected.abs().max().clamp(min=_SMALL)
    if not bool(error < _TOLERANCE):
        raise RuntimeError(f"what the compiler made has a gradient that is off by {error:.1e}")


def _traceable(vectors: Tensor, indices: Indices, leaves: list[Tensor]) -> bool:
    """Whether no size is 0 or 1, which symbolic tracing would take for constants."""
    short = {id(tensor) for tensor in (vectors, *leaves) if tensor.shape[0] < 2}
    return not short or short <= _constant_ends(indices)


def trace_energy_and_gradient(
    potential: Potential,
    tensors: dict[str, Tensor],
    vectors: Tensor,
    indices: Indices,
    fused: bool = False,
    weights: Tensor | None = None,
) -> GraphModule:
    """``(*tensors, vectors, *leaves of indices) -> (atomic energies, dE/dd)`` as a graph.

    With weights w it is ``(*tensors, vectors, w, *leaves of indices)``, and E the weighted sum of
    atomic energies.

    Args:
        potential: the potential.
        tensors: its parameters and buffers by name; their sizes stay constants.
        vectors: (n_edges, 3) an example; the number of edges becomes symbolic.
        indices: an example; all its sizes become symbolic, that of relations where some are left
            out.
        fused: whether to use kernels of our own; without, other programs can run the graph too.
        weights: (n_atoms,) float64 an example, or None.
    """
    leaves, structure = pytree.tree_flatten(indices)
    energy = _Energy(potential)
    names = [f"potential.{name}" for name in tensors]

    def function(*inputs: Tensor) -> tuple[Tensor, Tensor]:
        values = dict(zip(names, inputs, strict=False))
        d = inputs[len(names)].detach().requires_grad_()
        rest = pytree.tree_unflatten(list(inputs[-len(leaves) :]), structure)
        energies = torch.func.functional_call(energy, values, (d, rest))
        total = energies.sum() if weights is None else torch.dot(energies, inputs[len(names) + 1])
        (gradient,) = torch.autograd.grad(total, d, create_graph=True)
        return energies, gradient

    mode = FakeTensorMode(shape_env=ShapeEnv(duck_shape=False), allow_non_fake_inputs=True)
    fakes: list[Tensor] = [mode.from_tensor(t, static_shapes=True) for t in tensors.values()]
    rows = [vectors] if weights is None else [vectors, weights]
    fakes += [_with_symbolic_rows(mode, tensor) for tensor in rows]
    for leaf, is_constant in zip(leaves, constant_leaves(indices), strict=True):
        fakes.append(_with_symbolic_rows(mode, leaf, is_constant))
    with tracing(), plain_operators(not fused), torch.enable_grad():
        graph = make_fx(function, tracing_mode="symbolic")(*fakes)
    _remove_detach(graph)
    return graph


def _with_symbolic_rows(mode: FakeTensorMode, tensor: Tensor, is_constant: bool = False) -> Tensor:
    rows = DimDynamic.STATIC if is_constant else DimDynamic.DYNAMIC
    sizes: Sequence[DimDynamic] = [rows] + [DimDynamic.STATIC] * (tensor.dim() - 1)
    context: Any = StatelessSymbolicContext(dynamic_sizes=list(sizes))
    return mode.from_tensor(tensor, symbolic_context=context)


def constant_leaves(indices: Indices) -> list[bool]:
    """For each leaf whether it is as long in every graph: segment ends, if none is left out."""
    constant = _constant_ends(indices)
    return [id(leaf) in constant for leaf in pytree.tree_leaves(indices)]


def _constant_ends(indices: Indices) -> set[int]:
    segments = [
        part.segments
        for union in indices.expansions
        for part in (union, union.receivers, union.sources, union.kinds)
    ]
    return {id(found.ends) for found in segments if found.relation is None}


def _remove_detach(graph: GraphModule) -> None:
    """Let a second derivative through what was saved, detached, for the first."""
    for node in list(graph.graph.nodes):
        if node.target is torch.ops.aten.detach.default:
            node.replace_all_uses_with(node.args[0])
            graph.graph.erase_node(node)
    graph.graph.eliminate_dead_code()
    graph.recompile()
