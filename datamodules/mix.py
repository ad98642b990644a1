"""Several data sets as one, mixed by weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

from hermnet.data.graphs import GraphList, GraphSequence
from hermnet.data.joined import JoinedGraphs
from hermnet.data.splits import Indices
from hermnet.datamodule import DATAMODULES, GraphDataModule
from hermnet.errors import InputError, InputErrors
from hermnet.graph import LABELS
from hermnet.recipes.schema import check_options


@final
class Mix(GraphDataModule):
    """Several data sets as one; splits of one name are put together.

    A set is written like a ``data`` section of its own, with a ``weight`` beside its options, such
    as ``[{name: extxyz, train: bulk.xyz, weight: 2}, {name: rmd17}]``. Where the sets have
    different labels, each frame trains on those that it has.

    Args:
        sets: the data sets. The weight says how often each training frame of a set is drawn in an
            epoch; 1 is once.

    Raises:
        InputError: for a set without a name or with a weight that is not positive, and for sets
            with different scalars.
        InputErrors: for options that the sets do not have.
    """

    def __init__(self, *, sets: list[dict[str, Any]], **common: Any) -> None:
        super().__init__(**common)
        if not sets:
            raise InputError("sets: an empty list names no data")
        self._modules: list[GraphDataModule] = []
        self._weights: list[float] = []
        errors: list[str] = []
        for index, given in enumerate(sets):
            module, weight = _make(given, f"sets[{index}]", errors)
            if module is not None:
                self._modules.append(module)
                self._weights.append(weight)
        if errors:
            raise InputErrors(errors)
        self._masks = any(module.masks_labels for module in self._modules)
        self.scalar_names, self.scalar_units = _scalars(self._modules)

    @property
    def masks_labels(self) -> bool:
        """See `GraphDataModule.masks_labels`."""
        return self._masks

    def read(self) -> dict[str, GraphSequence]:
        """See `GraphDataModule.read`."""
        found = [
            {
                split: graphs if isinstance(graphs, GraphSequence) else GraphList(graphs)
                for split, graphs in module.read().items()
                if len(graphs)
            }
            for module in self._modules
        ]
        labels = [_labels(graphs) for by_split in found for graphs in by_split.values()]
        together = tuple(name for name in LABELS if any(name in there for there in labels))
        self._masks = self._masks or any(set(there) != set(together) for there in labels)
        splits = dict.fromkeys(split for by_split in found for split in by_split)
        joined: dict[str, GraphSequence] = {}
        for split in splits:
            parts = [by_split[split] for by_split in found if split in by_split]
            weights = [
                weight if split == "train" else 1.0
                for by_split, weight in zip(found, self._weights, strict=True)
                if split in by_split
            ]
            joined[split] = JoinedGraphs(parts, together, weights)
        return joined

    def split_indices(self) -> Indices | None:
        """See `GraphDataModule.split_indices`."""
        found = {
            f"{index}/{split}": part
            for index, module in enumerate(self._modules)
            for split, part in (module.split_indices() or {}).items()
        }
        return found or None

    def use_split_indices(self, indices: Indices) -> None:
        """See `GraphDataModule.use_split_indices`."""
        for index, module in enumerate(self._modules):
            own = {
                key.partition("/")[2]: part
                for key, part in indices.items()
                if key.partition("/")[0] == str(index)
            }
            if own:
                module.use_split_indices(own)


def _make(given: Any, path: str, errors: list[str]) -> tuple[GraphDataModule | None, float]:
    if not isinstance(given, Mapping) or "name" not in given:
        errors.append(f"{path}: expected the name of a data module and its options, got {given!r}")
        return None, 1.0
    options = {key: value for key, value in given.items() if key not in ("name", "weight")}
    weight = given.get("weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not weight > 0:
        errors.append(f"{path}.weight: must be a positive number, not {weight!r}")
    try:
        target = DATAMODULES.get(str(given["name"]))
        values, found = check_options(target, options, path)
        errors += found
        return (None if found else target(**values)), float(weight)
    except InputError as error:
        errors.append(f"{path}: {error}")
    return None, 1.0


def _scalars(modules: Sequence[GraphDataModule]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names and units of the scalars, which all sets have in common."""
    found = list(dict.fromkeys((module.scalar_names, module.scalar_units) for module in modules))
    if len(found) > 1:
        words = [
            ", ".join(f"{name} ({unit or 1})" for name, unit in zip(names, units, strict=True))
            for names, units in found
        ]
        listed = "; ".join(word or "none" for word in words)
        raise InputError(f"sets: all must have the same scalars in the same units, not {listed}")
    return found[0]


def _labels(graphs: GraphSequence) -> tuple[str, ...]:
    """The labels of a set, which all of its frames have."""
    return tuple(name for name in LABELS if getattr(graphs[0], name) is not None)
