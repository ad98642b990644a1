"""PaiNN keeps the contract of a sub-network."""

from __future__ import annotations

import pytest

from hermnet.checks import random_potential
from hermnet.errors import InputError
from hermnet.model_options import ModelOptions
from hermnet.testing import SubnetContract


class TestPaiNN(SubnetContract):
    subnet = "painn"


def test_epsilon_has_to_be_positive():
    with pytest.raises(InputError, match=r"model\.subnet\.epsilon: 0\.0 is not a positive number"):
        random_potential(ModelOptions(subnet={"name": "painn", "epsilon": 0.0}), (1, 8))
