"""`Later`: numbers on their way from a device to the host."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor


@final
class Later:
    """A small tensor that is asked for now and looked at later.

    Looking waits for what the device was given before the tensor, not for what came after.

    Args:
        values: on any device.
    """

    def __init__(self, values: Tensor) -> None:
        self._values = values.detach()
        self._event: torch.cuda.Event | None = None
        if values.device.type == "cuda":
            pinned = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self._values = pinned.copy_(values, non_blocking=True)
            self._event = torch.cuda.Event()
            self._event.record()

    def look(self) -> Tensor:
        """The tensor on the host."""
        if self._event is not None:
            self._event.synchronize()
        return self._values.cpu()
