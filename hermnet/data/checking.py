"""From what a data module has read to checked frames, and to checked frames with neighbor lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hermnet.data.graphs import (
    GraphList,
    GraphSequence,
    LinkedGraphs,
    link,
    linked_fingerprint,
)
from hermnet.data.validity import check_linked, check_properties, check_values, refuse
from hermnet.errors import InputError
from hermnet.graph import AtomicGraph


def checked(
    frames: Mapping[str, Sequence[AtomicGraph]], masks_labels: bool, n_scalars: int
) -> dict[str, GraphSequence]:
    """The splits that have frames, ``train`` and ``val`` first; those in memory are looked at.

    Args:
        frames: by split, without edges.
        masks_labels: whether a label may be NaN throughout a frame, for missing.
        n_scalars: how many scalars a frame has.

    Raises:
        InputError: for an empty training set, and labels or positions that are not finite.
    """
    found = {
        split: graphs if isinstance(graphs, GraphSequence) else GraphList(graphs)
        for split, graphs in frames.items()
        if len(graphs)
    }
    if "train" not in found:
        raise InputError("the training set is empty")
    first = [split for split in ("train", "val") if split in found]
    found = {split: found[split] for split in dict.fromkeys((*first, *found))}
    named = [
        (graph, f"{split} frame {index}")
        for split, graphs in found.items()
        if graphs.in_memory
        for index, graph in enumerate(graphs)
    ]
    refuse([p for graph, name in named for p in check_values(graph, name, masks_labels)])
    refuse([p for graph, name in named for p in check_properties(graph, name, n_scalars)])
    return found


def linked_checked(
    graphs: GraphSequence, cutoff: float, split: str, masks_labels: bool
) -> GraphSequence:
    """The frames with neighbor lists; those that are not in memory get them when they are read.

    Args:
        graphs: the frames of a split, without edges.
        cutoff: in A.
        split: its name, for messages.
        masks_labels: whether a label may be NaN throughout a frame, for missing.

    Raises:
        InputError: for two atoms at one place; it names split, frame and atoms.
    """
    if not graphs.in_memory:
        return LinkedGraphs(graphs, cutoff, split, masks_labels)
    named = [(graph, f"{split} frame {index}") for index, graph in enumerate(graphs)]
    linked = [(link(graph, cutoff, name), name) for graph, name in named]
    refuse([problem for graph, name in linked for problem in check_linked(graph, name)])
    name = linked_fingerprint(graphs, cutoff)
    return GraphList((graph for graph, _ in linked), graphs.weights, name)
