"""What the operators of a computation read, write and wait for, counted as they are called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, shape_wrapper

# Operators whose result is a number or a size: on an accelerator the host waits for it.
LOOKS = (
    "_local_scalar_dense",
    "nonzero",
    "unique",
    "_unique2",
    "unique_dim",
    "masked_select",
    "equal",
    "is_nonzero",
)


class Traffic(TorchDispatchMode):
    """Counts, inside the ``with`` block, all operators but views.

    Args:
        formulas: operations of operators that torch's own table lacks, from the shapes of the
            arguments.

    Attributes:
        flops: operations of matrix products.
        bytes: of all inputs and outputs, each tensor counted once a call.
        calls: how many operators.
        looks: how often those of `LOOKS` by name, where there are any.
    """

    def __init__(self, formulas: Mapping[Any, Any] | None = None) -> None:
        super().__init__()
        more = {torch.ops.aten._grouped_mm: _of_grouped, **(formulas or {})}
        self._formulas = {**flop_registry, **{k: shape_wrapper(f) for k, f in more.items()}}
        self.flops = 0
        self.bytes = 0
        self.calls = 0
        self.looks: dict[str, int] = {}

    def looked(self, name: str) -> None:
        """Called at every look; a subclass may want to know from where."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call the operator, and count it."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = func._schema.name.partition("::")[2]
        if name in LOOKS or (name.startswith("index") and _has_mask(args)):
            self.looks[name] = self.looks.get(name, 0) + 1
            self.looked(name)
        if func.is_view or name in ("detach", "alias", "_to_copy_meta"):
            return result
        if func._overloadpacket in self._formulas:
            formula = self._formulas[func._overloadpacket]
            self.flops += int(formula(*args, **kwargs, out_val=result))
        tensors = [t for t in tree_leaves((args, kwargs, result)) if isinstance(t, torch.Tensor)]
        # a tensor that is expanded is read from what it holds
        self.bytes += sum(
            {id(t): min(t.nbytes, t.untyped_storage().nbytes()) for t in tensors}.values()
        )
        self.calls += 1
        return result


def _of_grouped(a: Any, b: Any, *_: Any, **__: Any) -> int:
    """Of products segment by segment, whether rows or their sums are segmented."""
    return int(2 * a[0] * a[1] * b[-1])


def _has_mask(args: tuple[Any, ...]) -> bool:
    """Whether rows are chosen by truth values, whose number nobody knows before."""
    return any(
        isinstance(t, torch.Tensor) and t.dtype == torch.bool for t in tree_leaves(args[1:2])
    )
