"""How much memory a structure takes, before it is taken."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from hermnet.derivatives import edge_vectors
from hermnet.errors import InputError
from hermnet.graph import AtomicGraph
from hermnet.network import Indices
from hermnet.potential import Potential, evaluate_eagerly

MANY_EDGES = 200_000  # below these nothing is estimated: they take a few GB at most
_PIECE = 200  # atoms whose tensors are counted
_BACKWARD = 1.3  # what the gradient holds beside what was kept for it (measured: 1.1 to 1.25)
_GIB = 2.0**30


def bytes_needed(potential: Potential, graph: AtomicGraph) -> float:
    """An estimate of what energy and forces of a large structure take, evaluated eagerly.

    The tensors that a piece of the structure keeps for its gradient are counted; they grow in
    proportion to edges.

    Args:
        potential: the potential.
        graph: one structure with a neighbor list.
    """
    piece, vectors = piece_of(graph, potential.dtype)
    own = {value.untyped_storage().data_ptr() for value in potential.parameters()}
    sizes: dict[int, int] = {}
    kept: list[Tensor] = []  # so that no address is used twice

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            sizes[storage.data_ptr()] = storage.nbytes()
            kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        indices = potential.two_way_indices(piece)
        evaluate_eagerly(potential, vectors, indices, create_graph=False)
    whole = potential.two_way_indices(graph)
    return _BACKWARD * sum(sizes.values()) * times_as_many(whole, indices)


def times_as_many(whole: Indices, piece: Indices) -> float:
    """How many more edges a structure has than a piece of it, as sub-networks see them."""
    counts = [sum(union.edge.shape[0] for union in of.expansions) for of in (whole, piece)]
    return counts[0] / max(counts[1], 1)


def bytes_taken(call: Callable[[], object]) -> float:
    """The most that a call holds at a time of what it allocates; torch's profiler counts it.

    Compiled code allocates through torch as well, but out of autograd's sight.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        call()
    results = seen.profiler.kineto_results if seen.profiler is not None else None
    events = [] if results is None else [e for e in results.events() if e.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    return float(max(accumulate(event.nbytes() for event in events), default=0))


def check_memory(needs: Callable[[AtomicGraph], float], graph: AtomicGraph) -> None:
    """Refuse a structure that does not fit, which would end the process without a word.

    Args:
        needs: an estimate in bytes of what a structure takes.
        graph: one structure with a neighbor list, where it will be evaluated.

    Raises:
        InputError: which says what it needs and what there is.
    """
    if graph.n_edges < MANY_EDGES:
        return
    needed, free = needs(graph), free_bytes(graph.positions.device)
    if free is not None and needed > free:
        raise InputError(
            f"a structure of {graph.n_atoms:,} atoms and {graph.n_edges:,} edges needs about "
            f"{needed / _GIB:.1f} GiB, of which {free / _GIB:.1f} GiB are free: compute a smaller "
            "one, in float32, with compile, or on a device with more memory"
        )


def free_bytes(device: torch.device) -> float | None:
    """What can still be used on a device; None where that is not known."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return float(free + unused)
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    sizes = dict(line.split(":", 1) for line in lines)
    return 1024.0 * int(sizes["MemAvailable"].split()[0]) if "MemAvailable" in sizes else None


def piece_of(graph: AtomicGraph, dtype: torch.dtype) -> tuple[AtomicGraph, Tensor]:
    """Every n-th atom with the edges that it receives, and their vectors (n_edges, 3) in A.

    The atoms at the other ends are any of the piece: only how many there are counts.

    Args:
        graph: one structure with a neighbor list.
        dtype: of the vectors.
    """
    stride = max(graph.n_atoms // _PIECE, 1)
    rows = torch.arange(0, graph.n_atoms, stride, device=graph.positions.device)
    edges = torch.nonzero(graph.centers % stride == 0).flatten()
    part = AtomicGraph(
        positions=graph.positions[rows],
        atomic_numbers=graph.atomic_numbers[rows],
        cell=graph.cell,
        pbc=graph.pbc,
        batch=graph.batch[rows],
        centers=graph.centers[edges] // stride,
        neighbors=(graph.neighbors[edges] // stride),
        shifts=graph.shifts[edges],
    )
    return part, edge_vectors(graph)[edges].to(dtype)
