"""Operators of our kernels that compiled code on a CPU calls without Python between.

An operator that Python implements takes 20 to 40 us a call, as much as many a kernel. Where torch
brings the headers of its stable interface (2.10 and later), ``direct.cpp`` offers the same ones
once more, in C++ and without derivatives. `Direct` puts them in their places in the compiler's
graphs, where all derivatives are calls already. Elsewhere compiled code calls Python.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any, final

import torch
from torch._inductor.custom_graph_pass import CustomGraphPass
from torch._ops import OpOverload
from torch.fx import Graph

from hermnet.kernels import affine, convolution, coupling, message, perceptron  # noqa: F401  # define them
from hermnet.kernels.choice import SUFFIX
from hermnet.kernels.library import extension, library

_OPERATORS = {  # by library, these in the order of `Library` in direct.h
    "message": ("message", "message_first", "message_second"),
    "perceptron": ("perceptron", "perceptron_first", "perceptron_second"),
    "affine": ("affine", "affine_back", "affine_outer"),
    "convolution": ("product_sum", "edge_product"),
    "coupling": ("coupled", "coupled_first", "coupled_second"),
}
_LIBRARY = torch.library.Library("hermnet", "FRAGMENT")


@cache
def direct_operators() -> dict[OpOverload, OpOverload]:
    """The direct operator for each operator that has one; none where they cannot be had."""
    kernels = {name: library(name) for name in _OPERATORS}
    code = extension("direct") if all(kernels.values()) else None
    if code is None:
        return {}
    for number, (name, operators) in enumerate(_OPERATORS.items()):
        for is_double, suffix in enumerate(SUFFIX.values()):
            kernel = getattr(kernels[name], f"hermnet_{name}_{suffix}")
            where = ctypes.c_int64(number), ctypes.c_int64(is_double)
            code.hermnet_direct_kernel(*where, kernel)
        for operator in operators:
            _define(operator)
    ours = torch.ops.hermnet
    names = [name for operators in _OPERATORS.values() for name in operators]
    return {getattr(ours, n).default: getattr(ours, f"direct_{n}").default for n in names}


def _define(operator: str) -> None:
    like = getattr(torch.ops.hermnet, operator).default
    _LIBRARY.define(str(like._schema).replace("hermnet::", "direct_"))
    shapes: Callable[..., Any] = lambda *given: like(*given)  # noqa: E731
    torch.library.register_fake(f"hermnet::direct_{operator}", shapes, lib=_LIBRARY)


@final
class Direct(CustomGraphPass):
    """A pass of torch's compiler over its graphs, that puts direct operators in their places.

    Raises:
        RuntimeError: where there are none.
    """

    def __init__(self) -> None:
        self._direct = direct_operators()  # code from torch's cache calls them without any pass
        if not self._direct:
            raise RuntimeError("there are no direct operators")

    def __call__(self, graph: Graph) -> None:
        """See `CustomGraphPass`."""
        for node in graph.nodes:
            node.target = self._direct.get(node.target, node.target)

    def uuid(self) -> Any:
        """What compiled code in torch's cache has to agree with."""
        return ("hermnet direct operators", *sorted(map(str, self._direct)))
