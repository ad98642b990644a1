"""The messages with operators of torch that Triton's kernels are held against."""

from __future__ import annotations

import pytest
import torch
from test_message import N_ROWS, edges, inputs

import hermnet.grouped  # noqa: F401  (defines operators)
from hermnet.kernels import plain_message
from hermnet.kernels.library import library

OPS = torch.ops.hermnet


@pytest.mark.skipif(library("message") is None, reason="there is no C++ compiler")
@pytest.mark.parametrize("n_matrices", [3, 1])
@pytest.mark.parametrize("missing", [(), (1, 4)], ids=["all tangents", "some"])
def test_equal_the_kernels_in_c(n_matrices: int, missing: tuple[int, ...]):
    e, x = edges(90), [t.detach() for t in inputs(90, 4, n_matrices=n_matrices)]
    x[1] = x[1][:, 1:4]
    grad = torch.randn(N_ROWS, 4, 4, dtype=torch.float64)
    tangents = [None if k in missing else torch.randn_like(t) for k, t in enumerate(x)]
    for name, arguments in (
        ("message", (*x, *e, N_ROWS)),
        ("message_first", (grad, *x, *e, 0b11111)),
        ("message_first", (grad, *x, *e, 0b01010)),
        ("message_second", (*tangents, grad, *x, *e, 0b111111)),
    ):
        found = getattr(plain_message, name)(*arguments)
        torch.testing.assert_close(found, getattr(OPS, name)(*arguments))
