"""Compiled functions of small batches on GPUs, replayed as one launch.

A step of a small batch is hundreds of kernels, each shorter than its launch. Sizes that come again,
as those of molecules with all atoms in reach do, are therefore recorded once as a CUDA graph
(https://pytorch.org/blog/accelerating-pytorch-with-cuda-graphs/) and replayed from then on. What is
large, or never comes again, runs as it is.
"""

from __future__ import annotations

import warnings
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, final

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils import _pytree as pytree

from hermnet.kernels.first_use import n_rows
from hermnet.kernels.recording import Recording, recording

Function = Callable[..., Any]
_SEEN = 3  # calls of a size before it is recorded
_KEPT = 8  # recorded sizes; a training step's tensors stay in memory for each
_IDLE = 64  # calls after which a size that has not come makes room for another
_COUNTED = 4096  # sizes whose calls are counted
_LARGEST = 200_000  # rows of an input; longer kernels hide their launches
_ROOM = 400_000  # rows of all recorded sizes together, for the same reason as `_KEPT`
_OTHERS = "thread_local"  # other threads, such as those that load data, go on meanwhile
_WARM_UP = 2  # calls before recording, on a stream of its own


@final
class Replayed:
    """A function whose calls are recorded for sizes that come again.

    Args:
        function: of tensors on a GPU; its result, tensors in any structure that
            `torch.utils._pytree` knows, depends on nothing else.
        n_fixed: how many of its first inputs live at one address and may want gradients.
    """

    def __init__(self, function: Function, n_fixed: int) -> None:
        self._function = function
        self._n_fixed = n_fixed
        self._is_refused = False
        self._n_calls = 0
        self._calls: dict[Any, int] = {}
        self._last: dict[Any, int] = {}  # call of each recorded size
        self._records: OrderedDict[Any, Record] = OrderedDict()

    def __reduce__(self) -> tuple[type[Replayed], tuple[Function, int]]:
        return Replayed, (self._function, self._n_fixed)  # a copy records anew

    def __call__(self, *inputs: Tensor) -> Any:
        """Call it, where gradients are enabled so that the fixed inputs can get theirs."""
        key = self._key(inputs)
        with torch.cuda.device_of(inputs[0]):
            record = None if key is None else self._record(key, inputs)
            if record is None or record.is_pending:
                return self._function(*inputs)
            if not record.is_training:
                return record.structured(record.replay(inputs[self._n_fixed :]))
            # torch gives `apply` no types
            results = _Replay.apply(record, self._n_fixed, *inputs)  # type: ignore[no-untyped-call]
            return record.structured(results)

    def _key(self, inputs: Sequence[Tensor]) -> Any:
        given = inputs[self._n_fixed :]
        is_large = n_rows(given) > _LARGEST
        if self._is_refused or is_large or torch.is_autocast_enabled("cuda"):
            return None
        addresses = tuple(t.data_ptr() for t in inputs[: self._n_fixed])
        return torch.is_grad_enabled(), addresses, tuple((t.shape, t.dtype) for t in given)

    def _record(self, key: Any, inputs: Sequence[Tensor]) -> Record | None:
        self._n_calls += 1
        if key in self._records:
            self._last[key] = self._n_calls
            self._records.move_to_end(key)
            return self._records[key]
        if len(self._calls) > _COUNTED:
            self._calls.clear()
        self._calls[key] = self._calls.get(key, 0) + 1
        if self._calls[key] <= _SEEN or torch.cuda.is_current_stream_capturing():
            return None
        more = n_rows(inputs[self._n_fixed :])
        return self._recorded(key, inputs) if self._has_room(more) else None

    def _has_room(self, more: int) -> bool:
        """Whether there is room for a record; those that still come do not make some."""
        while len(self._records) == _KEPT or self._held() + more > _ROOM:
            oldest = next(iter(self._records))
            if self._n_calls - self._last[oldest] < _IDLE:
                return False
            del self._records[oldest], self._last[oldest]
        return True

    def _held(self) -> int:
        return sum(record.n_rows for record in self._records.values())

    def _recorded(self, key: Any, inputs: Sequence[Tensor]) -> Record | None:
        self._last[key] = self._n_calls
        try:
            self._records[key] = Record(self._function, self._n_fixed, inputs)
        except Exception as error:  # what cannot be recorded runs as it is
            self._is_refused = True
            reason = str(error).strip().splitlines()[0]
            warnings.warn(f"no CUDA graphs, calls go on one by one: {reason}", stacklevel=5)
        return self._records.get(key)


@final
class Record:
    """A call as a CUDA graph, and its backward pass as another where gradients are enabled.

    Args:
        function: what is called.
        n_fixed: see `Replayed`.
        inputs: an example; fixed ones are read where they are from then on.
    """

    def __init__(self, function: Function, n_fixed: int, inputs: Sequence[Tensor]) -> None:
        self.is_training = torch.is_grad_enabled()
        self._inputs = [t.clone() for t in inputs[n_fixed:]]
        self.n_rows = n_rows(self._inputs)
        self._wanted = [t.requires_grad for t in inputs[:n_fixed]]
        # leaves of our own in the same memory: those given may be parts of graphs on other streams
        fixed = [t.detach().requires_grad_(t.requires_grad) for t in inputs[:n_fixed]]
        self._pending: weakref.ref[_Token] | None = None
        self._made: Recording = {}  # indices that kernels share live as long as the graphs
        sources = [t for t in fixed if t.requires_grad]
        self._warm_up(lambda: self._once(function, fixed, sources))
        with recording(self._made):
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph, capture_error_mode=_OTHERS):
                result = function(*fixed, *self._inputs)
            self._results, self._structure = pytree.tree_flatten(result)
            if self.is_training:
                self._record_backward(sources)

    def _once(self, function: Function, fixed: Sequence[Tensor], sources: Sequence[Tensor]) -> None:
        results = pytree.tree_leaves(function(*fixed, *self._inputs))
        if self.is_training:
            gradients = [torch.zeros_like(r) for r in results]
            torch.autograd.grad(results, sources, gradients, allow_unused=True)

    def _warm_up(self, call: Callable[[], None]) -> None:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UP):
                call()
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.synchronize()

    def _record_backward(self, sources: Sequence[Tensor]) -> None:
        self._seeds = [torch.zeros_like(r) for r in self._results]
        self._back = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._back, self._graph.pool(), capture_error_mode=_OTHERS):
            self._gradients = torch.autograd.grad(
                self._results, sources, self._seeds, allow_unused=True
            )
        self._results = [r.detach() for r in self._results]

    @property
    def is_pending(self) -> bool:
        """Whether a backward pass still wants what the last call left behind."""
        return self._pending is not None and self._pending() is not None

    def replay(self, given: Sequence[Tensor], token: _Token | None = None) -> tuple[Tensor, ...]:
        """The leaves of the result for other values of the same sizes."""
        torch._foreach_copy_(self._inputs, list(given))
        self._graph.replay()
        self._pending = None if token is None else weakref.ref(token)
        return tuple(_copies(self._results))

    def structured(self, leaves: Sequence[Tensor]) -> Any:
        """The result of its leaves."""
        return pytree.tree_unflatten(list(leaves), self._structure)

    def replay_backward(self, seeds: Sequence[Tensor]) -> list[Tensor | None]:
        """The gradients of the fixed inputs, None where none is wanted."""
        torch._foreach_copy_(self._seeds, list(seeds))
        self._back.replay()
        self._pending = None
        copies = iter(_copies([g for g in self._gradients if g is not None]))
        found = iter([None if g is None else next(copies) for g in self._gradients])
        return [next(found) if wanted else None for wanted in self._wanted]


def _copies(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Copies that the next replay does not write into; of what is one tensor, one."""
    several = {id(t): t for t in tensors}
    made: dict[int, Tensor] = {}
    for dtype in {t.dtype for t in several.values()}:
        kept = {key: t for key, t in several.items() if t.dtype == dtype}
        made |= zip(kept, torch._foreach_add(list(kept.values()), 0), strict=True)
    return [made[id(t)] for t in tensors]


class _Token:
    """Lives as long as the graph of a call that wants a backward pass."""


class _Replay(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, record: Record, n_fixed: int, *inputs: Tensor) -> tuple[Tensor, ...]:
        ctx.record, ctx.token, ctx.n_inputs = record, _Token(), len(inputs)
        return record.replay(inputs[n_fixed:], ctx.token)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *seeds: Tensor) -> tuple[Any, ...]:
        if ctx.token is None:
            raise RuntimeError("a backward pass through a recorded call runs once")
        ctx.token = None
        gradients = ctx.record.replay_backward(seeds)
        return None, None, *gradients, *[None] * (ctx.n_inputs - len(gradients))
