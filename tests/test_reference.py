from __future__ import annotations

import pytest
import torch

from hermnet.errors import InputError
from hermnet.reference import Reference


def test_energy_is_reference_plus_scaled_output():
    reference = Reference((8, 1))
    reference.set({1: -13.6, 8: -2043.25, 6: -1000.0}, scale=0.25)
    energies = reference(torch.tensor([1.0, -2.0, 0.0]), torch.tensor([0, 1, 1]))
    assert energies.dtype == torch.float64
    assert energies.tolist() == [-2043.0, -14.1, -13.6]


def test_nothing_is_added_before_it_is_set():
    assert Reference((8, 1))(torch.tensor([3.5]), torch.tensor([1])).tolist() == [3.5]


def test_large_energies_keep_what_float32_would_lose():
    reference = Reference((79,))
    reference.set({79: -518000.123456789}, scale=1.0)
    energies = reference(torch.tensor([0.5], dtype=torch.float32), torch.tensor([0]))
    assert float(energies) == -518000.123456789 + 0.5


def test_it_travels_in_the_state_dict():
    reference, other = Reference((8, 1)), Reference((8, 1))
    reference.set({1: -1.0, 8: -2.0}, scale=3.0)
    other.load_state_dict(reference.state_dict())
    assert (other.energies.tolist(), float(other.scale)) == ([-2.0, -1.0], 3.0)


def test_a_missing_element_is_refused():
    with pytest.raises(InputError, match="no reference energy for H, Fe"):
        Reference((8, 1, 26)).set({8: 0.0}, scale=1.0)
