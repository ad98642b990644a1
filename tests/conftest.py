"""What every test gets: one thread, one seed, a cache of its own, the default dtype as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)  # a second busy process slows two-thread torch many times over


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("HERMNET_CACHE", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    dtype = torch.get_default_dtype()
    torch.manual_seed(0)
    yield
    assert torch.get_default_dtype() == dtype, "the test left another default dtype behind"
