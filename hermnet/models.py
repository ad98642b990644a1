"""Which model a recipe's ``model`` section asks for."""

from __future__ import annotations

from collections.abc import Mapping

from hermnet.model_options import ModelOptions
from hermnet.network import Network
from hermnet.potential import Potential
from hermnet.property_model import PropertyModel


def make_model(
    options: ModelOptions,
    elements: tuple[int, ...],
    mean_neighbors: float,
    units: Mapping[str, str],
) -> Network:
    """A `Potential` for the readout ``energy``, else a `PropertyModel`.

    Args:
        options: the recipe's ``model`` section.
        elements: the atomic numbers it knows; their order is that of the weights.
        mean_neighbors: average number of neighbors of an atom in the training set.
        units: the unit of each target of a property model.

    Raises:
        InputError: for options that do not fit together or name something unknown.
    """
    if options.readout_name == "energy":
        return Potential(options, elements, mean_neighbors)
    return PropertyModel(options, elements, mean_neighbors, units)
