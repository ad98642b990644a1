"""PaiNN keeps the contract of a sub-network."""

from __future__ import annotations

from hermnet.testing import SubnetContract


class TestPaiNN(SubnetContract):
    subnet = "painn"
