"""The data of a recipe."""

from __future__ import annotations

from hermnet.config import Recipe
from hermnet.datamodule import DATAMODULES, GraphDataModule


def load_data(recipe: Recipe, splits: dict[str, list[int]] | None = None) -> GraphDataModule:
    """The recipe's data, checked and with neighbor lists.

    Args:
        recipe: the resolved recipe.
        splits: the random splits of an earlier start of the run, to be used again.

    Raises:
        InputError: if the data cannot be used.
    """
    options = {key: value for key, value in recipe.data.items() if key != "name"}
    data = DATAMODULES.get(recipe.data["name"])(**options)
    if splits is not None:
        data.use_split_indices(splits)
    data.set_cutoff(recipe.model.cutoff)
    data.setup()
    return data
