"""Whether kernels are used, and with how many threads."""

from __future__ import annotations

from operators import threads

from hermnet.kernels.choice import at_most_threads, n_threads


def test_threads_are_those_of_torch_or_fewer():
    with threads(2):
        assert n_threads() == 2
        with at_most_threads(1):
            assert n_threads() == 1
        with at_most_threads(8):
            assert n_threads() == 2
        assert n_threads() == 2
