"""The processes of a run: who this one is, and what all of them have to agree on.

Without a group of processes everything here is done by the one there is. Objects go from process
to process pickled, as torch does it: all of them belong to one run of one user.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

from hermnet.errors import InputError, InputErrors

T = TypeVar("T")


def rank() -> int:
    """The number of this process, from 0."""
    return distributed.get_rank() if _in_group() else 0


def n_processes() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if _in_group() else 1


def this_process() -> tuple[int, int]:
    """Which of how many processes this is."""
    return rank(), n_processes()


def started_as() -> dict[str, int]:
    """What torchrun says of its processes, as arguments of Lightning's trainer."""
    if not (distributed.is_available() and distributed.is_torchelastic_launched()):
        return {}
    here, everywhere = (int(os.environ[key]) for key in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
    return {"devices": here, "num_nodes": everywhere // here}


def added_up(tensor: Tensor) -> Tensor:
    """The sum of all processes' tensors, on all of them; `tensor` itself stays as it is."""
    if n_processes() == 1:
        return tensor
    total = tensor.clone()
    distributed.all_reduce(total)
    return total


def from_first(make: Callable[[], T]) -> T:
    """What process 0 makes, on all processes; they have to call this in the same order.

    Raises:
        InputError: on all of them, if it is raised on process 0.
    """
    if n_processes() == 1:
        return make()
    made: list[Any] = [None, None]  # the result, what is wrong
    if rank() == 0:
        try:
            made[0] = make()
        except InputError as error:
            made[1] = _messages(error)
    distributed.broadcast_object_list(made, device=_device())
    if made[1] is not None:
        raise InputErrors(made[1])
    result: T = made[0]
    return result


def together(make: Callable[[], T], same: Callable[[T], object]) -> T:
    """What every process makes for itself, once all have made it, and made the same.

    Args:
        make: it must not speak with other processes.
        same: tells by what one result is known from another.

    Raises:
        InputError: on all processes, if it is raised on one or their results differ.
    """
    if n_processes() == 1:
        return make()
    result: T | None = None
    mine: tuple[list[str] | None, object] = (None, None)  # what is wrong, or known by
    try:
        result = make()
        mine = (None, same(result))
    except InputError as error:
        mine = (_messages(error), None)
    found: list[Any] = [None] * n_processes()
    distributed.all_gather_object(found, mine)
    problems = [problem for problem, _ in found]
    if any(problems):
        first = next(k for k, problem in enumerate(problems) if problem)
        where = "" if all(problems) or first == 0 else f"process {first}: "
        raise InputErrors([where + line for line in problems[first]])
    others = [k for k, (_, made) in enumerate(found) if made != found[0][1]]
    if others:
        raise InputError(
            f"process {others[0]} reads other data than process 0: {found[others[0]][1]}, not "
            f"{found[0][1]}"
        )
    assert result is not None
    return result


def _in_group() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _device() -> torch.device | None:
    """Where NCCL, which knows no other memory, wants what is sent."""
    if distributed.get_backend() != "nccl":
        return None
    return torch.device("cuda", torch.cuda.current_device())


def _messages(error: InputError) -> list[str]:
    return error.messages if isinstance(error, InputErrors) else [str(error)]
