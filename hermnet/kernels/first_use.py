"""Kernels for GPUs, held against operators of torch once before they are believed.

They run on machines where nobody has tried them. So the first call of each kind on a device
computes both, on the actual inputs. Where Triton, say, does not compile or gives other numbers, one
warning says why, and operators of torch work in its place on that device and dtype from then on, as
they do where it is missing.
"""

from __future__ import annotations

import importlib
import logging
import os
import warnings
from collections.abc import Callable, Hashable, Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any, final

import torch
from torch import Tensor

from hermnet.kernels.choice import SUFFIX, is_plain

_LOG = logging.getLogger("hermnet.kernels")
_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 3e-2}  # of the largest
_SHORT_TOLERANCE = 1e-2  # of products of float32 in TF32, which keeps 10 bits
_PACKAGES = {  # that makers of kernels need
    "Triton": ["triton"],
    "cuEquivariance": ["cuequivariance_torch", "cuequivariance_ops_torch"],
}
_refused: set[tuple[str, torch.device, torch.dtype]] = set()


@cache
def _has(maker: str) -> bool:
    is_wanted = os.environ.get("HERMNET_KERNELS") != "0"
    return is_wanted and all(find_spec(name) is not None for name in _PACKAGES[maker])


def is_served(*tensors: Tensor, maker: str = "Triton") -> bool:
    """Whether this maker's kernels are wanted and may be had where these tensors are."""
    device = tensors[0].device
    return (
        not is_plain()
        and all(t.device == device and t.device.type == "cuda" for t in tensors)
        and (maker, device, tensors[0].dtype) not in _refused
        and _has(maker)
    )


def may_take_on_gpu(*tensors: Tensor, maker: str = "Triton") -> bool:
    """`is_served`, and of one dtype that the message kernels are made for."""
    dtype = tensors[0].dtype
    is_one = dtype in SUFFIX and all(t.dtype == dtype for t in tensors)
    return is_one and is_served(*tensors, maker=maker)


def precision(dtype: torch.dtype) -> str:
    """How exact products of matrices are, in the words of Triton; as torch's own.

    Three products in TensorFloat32 give float32's digits, on the units that multiply matrices.
    """
    if dtype != torch.float32:
        return "ieee"
    if torch.backends.cuda.matmul.allow_tf32:
        return "tf32"
    return "tf32x3" if _has_tf32() else "ieee"


@cache
def _has_tf32() -> bool:
    is_nvidia = torch.version.cuda is not None and torch.cuda.is_available()
    return is_nvidia and torch.cuda.get_device_capability() >= (8, 0)


@final
class FirstUse:
    """A function on GPUs where it equals its plain form, which is tried once for each kind.

    Args:
        module: that has the function; imported at the first call, for it needs its maker.
        name: of the function.
        plain: the same with operators of torch.
        by_last: whether the last argument makes kinds too, as the shapes of tensors do.
        maker: ``Triton`` or ``cuEquivariance``.
    """

    def __init__(
        self,
        module: str,
        name: str,
        plain: Callable[..., Any],
        by_last: bool = False,
        maker: str = "Triton",
    ) -> None:
        self._by_last = by_last
        self._maker = maker
        self._module = module
        self._name = name
        self._plain = plain
        self._known: set[Hashable] = set()
        self._too_long = float("inf")  # rows, of which the plain form does not fit into memory

    def __call__(self, *arguments: Any) -> Any:
        """Call it."""
        tensors = [t for t in arguments if isinstance(t, Tensor)]
        if not is_served(*tensors, maker=self._maker):
            return self._plain(*arguments)
        key = (*_kind(arguments), arguments[-1] if self._by_last else None)
        with torch.cuda.device(tensors[0].device):
            if key in self._known or n_rows(tensors) >= self._too_long:
                return self._fast(*arguments)
            if torch.cuda.is_current_stream_capturing():  # no place to compare: nothing may wait
                return self._plain(*arguments)
            return self._compared(key, *arguments)

    def _fast(self, *arguments: Any) -> Any:
        return getattr(importlib.import_module(self._module), self._name)(*arguments)

    def _compared(self, key: Hashable, *arguments: Any) -> Any:
        try:
            expected = self._plain(*arguments)
        except torch.OutOfMemoryError:  # tensors per edge and channel need not fit
            tensors = [t for t in arguments if isinstance(t, Tensor)]
            self._too_long = min(self._too_long, n_rows(tensors))
            return self._fast(*arguments)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the maker's, of its own defaults
                found = self._fast(*arguments)
            error = _difference(_sequence(found), _sequence(expected))
        except torch.OutOfMemoryError:
            return expected
        except Exception as reason:  # whatever others cannot do, torch can
            return self._refuse(arguments, _first_line(reason), expected)
        if error is None:  # values that are no numbers tell nothing
            return expected
        if error > 1.0:
            told = f"{self._name} is off by {error:.1f} times what rounding explains"
            return self._refuse(arguments, told, expected)
        self._known.add(key)
        return found

    def _refuse(self, arguments: Sequence[Any], reason: str, result: Any) -> Any:
        first = next(t for t in arguments if isinstance(t, Tensor))
        # older Tritons multiply no float64, say
        _refused.add((self._maker, first.device, first.dtype))
        text = "no kernels of %s for %s on %s, going on with those of torch: %s"
        _LOG.warning(text, self._maker, first.dtype, first.device, reason)
        return result


def n_rows(tensors: Sequence[Tensor]) -> int:
    """Of the longest."""
    return max(t.shape[0] for t in tensors)


def _kind(arguments: Sequence[Any]) -> tuple[Hashable, ...]:
    """What makes another kernel: dtypes, channels, which tensors there are."""
    tensors = [t for t in arguments if t is None or isinstance(t, Tensor)]
    shapes = [None if t is None else (t.dtype, t.device, t.shape[1:]) for t in tensors]
    # reading the switch of TF32 is cheap, and it is another kernel
    return precision(torch.float32), *shapes


def _sequence(results: Any) -> Sequence[Tensor]:
    return [results] if isinstance(results, Tensor) else list(results)


def _difference(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float | None:
    """The largest difference in units of what rounding explains; None where it cannot be said."""
    for one, other in zip(found, expected, strict=True):
        if one.shape != other.shape or one.dtype != other.dtype:
            raise RuntimeError(f"a result of shape {tuple(one.shape)}, not {tuple(other.shape)}")
    pairs = [(a, b) for a, b in zip(found, expected, strict=True) if b.numel()]
    scales = [float(b.abs().max()) for _, b in pairs]
    largest = max(scales, default=0.0)
    if not all(scale < float("inf") for scale in scales):
        return None
    errors = [float((a - b).abs().max()) for a, b in pairs]
    if largest == 0.0:  # as right as it can be, or not at all
        return None if not any(errors) else float("inf")
    # what vanishes for one may be a sum that rounding leaves over for the other
    parts = [
        error / (_allowed(b.dtype) * (scale or largest))
        for error, scale, (_, b) in zip(errors, scales, pairs, strict=True)
    ]
    return max(part if part == part else float("inf") for part in parts)


def _allowed(dtype: torch.dtype) -> float:
    return _SHORT_TOLERANCE if precision(dtype) == "tf32" else _TOLERANCE[dtype]


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
