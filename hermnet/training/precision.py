"""With how many digits training computes.

Weights and results are float32, or float64 with ``model.dtype``. Products alone can have fewer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from hermnet.errors import InputError

_KNOWN = ("32-true", "32", "bf16-mixed")


def check_precision(given: object) -> None:
    """Whether ``trainer.precision`` leaves the weights as the model made them.

    Raises:
        InputError: for one that would convert them, or whose range is too small for forces.
    """
    if given is not None and str(given) not in _KNOWN:
        raise InputError(
            f"trainer.precision: '{given}' is not one of 32-true and bf16-mixed; "
            "for double precision set model.dtype=float64"
        )


@contextmanager
def matrix_products(precision: str) -> Iterator[None]:
    """Let torch multiply float32 matrices with this precision.

    Args:
        precision: ``highest``, ``high`` or ``medium``; see `torch.set_float32_matmul_precision`.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
