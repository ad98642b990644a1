"""The data of a recipe: load them, check what they say, write them as a database."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from hermnet.data.fingerprint import digest
from hermnet.datamodule import DATAMODULES, GraphDataModule
from hermnet.elements import symbol
from hermnet.errors import InputError, InputErrors
from hermnet.host.processes import together
from hermnet.network import Network
from hermnet.recipes.config import Recipe
from hermnet.run.folder import RunFolder

_SAMPLES = 8  # frames of each split that processes compare


def load_data(recipe: Recipe, splits: dict[str, list[int]] | None = None) -> GraphDataModule:
    """The recipe's data, checked and with neighbor lists; the same on all processes of a run.

    Args:
        recipe: the resolved recipe.
        splits: the random splits of an earlier start of the run, to be used again.

    Raises:
        InputError: if the data cannot be used.
    """

    def load() -> GraphDataModule:
        data = _make(recipe)
        if splits is not None:
            data.use_split_indices(splits)
        data.set_cutoff(recipe.model.cutoff)
        data.setup()
        return data

    return together(load, _known_by)


def _known_by(data: GraphDataModule) -> str:
    """The numbers of frames, and a word for the splits and what some frames hold."""
    by_split = {split: data.graphs(split) for split in data.splits()}
    content = [repr(data.split_indices()).encode()]
    for graphs in by_split.values():
        for index in np.linspace(0, len(graphs) - 1, _SAMPLES, dtype=np.int64).tolist():
            graph = graphs[index]
            content += [graph.atomic_numbers.numpy().tobytes(), graph.positions.numpy().tobytes()]
    counts = ", ".join(f"{split} {len(graphs)}" for split, graphs in by_split.items())
    return f"{counts} frames, content {digest(*content)[:8]}"


def check_elements(data: GraphDataModule, model: Network, splits: Iterable[str]) -> None:
    """Raise `InputError` for frames of these splits with an element that the model lacks."""
    for split in splits:
        strangers = sorted(set(data.facts(split).elements) - set(model.elements))
        if strangers:
            raise InputError(
                f"the {split} frames have {', '.join(map(symbol, strangers))}, which no training "
                f"frame has (elements there: {', '.join(map(symbol, model.elements))})"
            )


def check_data(recipe: Recipe, output: str | None = None) -> Path:
    """Print what the labels say about themselves, and draw it.

    Args:
        recipe: whose ``data`` section is checked.
        output: PNG to write, by default ``data_check.png`` in the run's folder.

    Returns:
        The picture.

    Raises:
        InputErrors: if something looks wrong, one line each, after everything has been printed.
    """
    from hermnet.data.inspection import inspect_splits
    from hermnet.data.inspection_plots import draw_inspection

    path = Path(output) if output else RunFolder.of(recipe.name, recipe.trainer).data_check
    data = _make(recipe)
    splits = data.read()  # as they are: training would refuse what the report is about
    found = inspect_splits(splits, data.masks_labels)
    print("\n".join(found.lines()), flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    draw_inspection(found, path)
    print(f"plots: {path}", flush=True)
    if found.problems:
        raise InputErrors(found.problems)
    return path


def convert_data(
    recipe: Recipe,
    output: str,
    splits: Sequence[str] = (),
    workers: int = 1,
    overwrite: bool = False,
) -> Path:
    """Write the data of a recipe as ``.aselmdb`` databases, a folder for each split.

    Args:
        recipe: whose ``data`` section is converted.
        output: folder to write.
        splits: which splits; none for all.
        workers: processes that convert side by side.
        overwrite: whether to replace what is there.

    Returns:
        The folder.

    Raises:
        InputError: for an unknown split, a folder that is there already, or data that cannot be
            used.
    """
    from hermnet.data.conversion import convert

    path = Path(output)
    counts = convert(
        _make(recipe),
        path,
        splits or None,
        n_workers=workers,
        overwrite=overwrite,
        progress=True,
    )
    listed = ", ".join(f"{split} ({count} frames)" for split, count in counts.items())
    print(f"written: {path} with {listed}", flush=True)
    return path


def _make(recipe: Recipe) -> GraphDataModule:
    options = {key: value for key, value in recipe.data.items() if key != "name"}
    return DATAMODULES.get(recipe.data["name"])(**options)
