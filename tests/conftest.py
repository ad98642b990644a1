"""What every test gets: one thread, one seed, a cache of its own, the default dtype as it was."""

from __future__ import annotations

import fcntl
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from hermnet.kernels.library import extension, library

torch.set_num_threads(1)  # a second busy process slows two-thread torch many times over

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")  # gw0, gw1, ...; empty where there is one only
# those that take longest first
KERNELS = ("coupling", "perceptron", "message", "affine", "indexing", "convolution")
EXTENSION = "direct"


def pytest_configure(config: pytest.Config) -> None:
    config.option.loadscopereorder = False  # xdist would begin with the most tests, not the longest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Among several workers the files that take longest first: none is left over at the end."""
    if not WORKER:
        return
    seconds: Counter[str] = Counter()
    for item in items:
        seconds[_scope(item)] += 10.0 if item.get_closest_marker("slow") else 0.07
    items.sort(key=lambda item: -seconds[_scope(item)])


def _scope(item: pytest.Item) -> str:
    """What xdist gives to one worker."""
    return item.nodeid.rpartition("::")[0]


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("HERMNET_CACHE", str(folder))
        if WORKER:
            _share_kernels(folder / "kernels", tmp_path_factory.getbasetemp().parent / "kernels")
        yield folder


def _share_kernels(own: Path, shared: Path) -> None:
    """Each kernel is compiled once for all workers, before processes come that all want it."""
    shared.mkdir(exist_ok=True)
    own.symlink_to(shared)
    first = int(WORKER.removeprefix("gw")) % len(KERNELS)
    for name in [*KERNELS[first:], *KERNELS[:first], EXTENSION]:
        with shared.with_name(f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            extension(name) if name == EXTENSION else library(name)


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    dtype = torch.get_default_dtype()
    torch.manual_seed(0)
    yield
    assert torch.get_default_dtype() == dtype, "the test left another default dtype behind"
