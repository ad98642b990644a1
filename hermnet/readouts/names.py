"""The readouts that a recipe can name under ``model.readout``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from hermnet.errors import InputError, nearest
from hermnet.model_options import ModelOptions
from hermnet.readouts.dipole import DipoleReadout
from hermnet.readouts.extent import SpatialExtentReadout
from hermnet.readouts.polarizability import PolarizabilityReadout
from hermnet.readouts.readout import EnergyReadout, PropertyReadout, ReadoutShape, Target
from hermnet.readouts.scalar import ScalarReadout

PROPERTY_READOUTS: dict[str, type[PropertyReadout]] = {
    "scalar": ScalarReadout,
    "dipole": DipoleReadout,
    "spatial_extent": SpatialExtentReadout,
    "polarizability": PolarizabilityReadout,
}
READOUTS: dict[str, type[nn.Module]] = {"energy": EnergyReadout, **PROPERTY_READOUTS}
FILLED = ("shape", "n_channels")  # parameters that the program gives, no options


def make_property_readout(
    name: str, options: Mapping[str, Any], shape: ReadoutShape
) -> PropertyReadout:
    """The readout called `name`, for anything but energies.

    Raises:
        InputError: for an unknown name, or options that it does not accept.
    """
    if name not in PROPERTY_READOUTS:
        raise InputError(f"model.readout: unknown '{name}'; {nearest(name, READOUTS)}")
    try:
        return PROPERTY_READOUTS[name](shape, **options)
    except TypeError as error:
        raise InputError(f"model.readout: {name}: {error}") from error


def targets_of(options: ModelOptions) -> tuple[Target, ...]:
    """What a model with these options predicts; nothing but energies has no targets.

    Raises:
        InputError: for an unknown readout, or options that it does not accept.
    """
    if options.readout_name == "energy":
        return ()
    nothing = ReadoutShape(n_channels=1, lmax=0, elements=())
    with torch.random.fork_rng(devices=[]):  # the weights are thrown away
        readout = make_property_readout(options.readout_name, options.readout_options, nothing)
    return readout.targets
