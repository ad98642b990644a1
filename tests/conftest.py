"""What every test gets: one thread, one seed, and the default dtype as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

torch.set_num_threads(1)  # a second busy process slows two-thread torch many times over


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    dtype = torch.get_default_dtype()
    torch.manual_seed(0)
    yield
    assert torch.get_default_dtype() == dtype, "the test left another default dtype behind"
