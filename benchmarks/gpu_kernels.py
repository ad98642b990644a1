"""What kernels in Triton take on a GPU, beside operators of torch and the rate of a copy.

Each kernel has to read its inputs and write its results once: these are its compulsory bytes, and
their share of what a copy moves in the same time says how far from the limit it is. Calls are
recorded as a CUDA graph, so that the time of launches does not count; what looks at numbers on the
host, as loops over segments do, cannot be recorded and is called.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any, NamedTuple

import torch
from measure import Stopwatch, ceilings, machine, median_ratio, parser, write
from systems import silicon
from torch import Tensor

import hermnet.grouped as grouped
from hermnet.graph import AtomicGraph
from hermnet.kernels import convolution, plain_message
from hermnet.kernels.first_use import is_served
from hermnet.kernels.message import Edges
from hermnet.kernels.recording import Recording, recording

N_BASIS = 21  # radial functions and the envelope
CELLS = {"512-atom Si": 4, "4096-atom Si": 8}  # cubic cells along each axis
CHANNELS = (64, 128)
N_SEGMENTS = 10
REPEATS = 20  # calls that are timed as one, which a single call is too short for
ALL_BUT_WEIGHTS = 0b01111  # what forces ask for
graphs: list[Any] = []  # and what they read


class Case(NamedTuple):
    """A kernel with inputs: as `name(*arguments)` of torch.ops.hermnet, and with torch's."""

    name: str
    plain: Callable[..., Any]
    arguments: tuple[Any, ...]

    def run(self) -> Any:
        """Call the kernel."""
        return getattr(torch.ops.hermnet, self.name)(*self.arguments)

    def compulsory_bytes(self) -> int:
        """Bytes of inputs and results, indices included."""
        result = self.run()
        results = [result] if isinstance(result, Tensor) else result
        return sum(t.nbytes for t in (*self.arguments, *results) if isinstance(t, Tensor))


def cases(graph: AtomicGraph, n_channels: int) -> Iterator[Case]:
    """Every kernel on the edges of a structure, with random features."""
    device, n_atoms, n_edges = graph.positions.device, graph.n_atoms, graph.n_edges

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, device=device)

    inputs = (
        random(n_atoms, 3 * n_channels),
        random(n_atoms, 3, n_channels),
        random(n_edges, N_BASIS + -N_BASIS % 4),
        random(n_edges, 3),
        random(1, N_BASIS, 3 * n_channels),
    )
    ends = torch.tensor([n_edges], dtype=torch.int32, device=device)
    edges = Edges(ends, graph.centers, graph.neighbors, graph.neighbors)
    grad = random(n_atoms, 4, n_channels)
    tangents = (*(torch.randn_like(t) for t in inputs[:4]), None)
    yield Case("message", plain_message.message, (*inputs, *edges, n_atoms))
    first = (grad, *inputs, *edges, ALL_BUT_WEIGHTS)
    yield Case("message_first", plain_message.message_first, first)
    second = (*tangents, grad, *inputs, *edges, 0b111111)
    yield Case("message_second", plain_message.message_second, second)
    values, weights = random(n_atoms, n_channels), random(n_edges, n_channels)
    ends_of_edges = (graph.centers, graph.neighbors)
    total = (values, weights, *ends_of_edges, n_atoms, True)
    yield Case("product_sum", convolution._plain_sum, total)
    product = (values, values, *ends_of_edges, True)
    yield Case("edge_product", convolution._plain_product, product)
    n_rows = N_SEGMENTS * n_atoms
    rows, others = random(n_rows, n_channels), random(n_rows, 3 * n_channels)
    matrices = random(N_SEGMENTS, n_channels, 3 * n_channels)
    offsets = torch.arange(1, N_SEGMENTS + 1, dtype=torch.int32, device=device) * n_atoms
    yield Case("segment_matmul", grouped._segment_matmul, (rows, matrices, offsets))
    yield Case("segment_outer", grouped._segment_outer, (rows, others, offsets))


def repeated(function: Callable[..., Any], *arguments: Any) -> Callable[[], None]:
    """`REPEATS` calls as one action, which is a launch where they can be recorded."""

    def action() -> None:
        for _ in range(REPEATS):
            function(*arguments)

    action()
    graph = torch.cuda.CUDAGraph()
    kept: Recording = {}
    try:
        with recording(kept), warnings.catch_warnings(), torch.cuda.graph(graph):
            warnings.simplefilter("ignore")  # a graph is empty where recording fails
            action()
    except RuntimeError:
        torch.cuda.synchronize()
        return action
    graphs.append((graph, kept))
    return graph.replay


def measure(case: Case, watch: Stopwatch, copy: float) -> dict[str, float]:
    """Times of a call in seconds, the bytes it has to move, and their share of a copy's rate."""
    actions = {"triton": repeated(case.run), "torch": repeated(case.plain, *case.arguments)}
    times = watch.alternate(actions)
    seconds = {name: median(values) / REPEATS for name, values in times.items()}
    n_bytes = case.compulsory_bytes()
    ratio = median_ratio(times["torch"], times["triton"])
    share = n_bytes / seconds["triton"] / copy
    return {**seconds, "ratio": ratio, "bytes": n_bytes, "share of copy": share}


def main() -> int:
    """Run, print, save."""
    options = parser(__doc__.splitlines()[0])
    options.set_defaults(device="cuda")
    given = options.parse_args()
    device = torch.device(given.device)
    if device.type != "cuda" or not torch.cuda.is_available():
        print(f"device {given.device}: kernels in Triton need a GPU of CUDA", file=sys.stderr)
        return 2
    device = torch.device("cuda", device.index or 0)
    watch = Stopwatch(given.rounds, "wall", device)
    copy = ceilings(device)["copy"]
    found: dict[str, dict[str, Any]] = {}
    print(f"copy: {copy / 1e9:.0f} GB/s\n{'':32s}     triton      torch  ratio  share of copy")
    for system, n_cells in CELLS.items():
        graph = silicon(n_cells).to(device)
        for n_channels in CHANNELS:
            where = f"{system}, {n_channels}"
            for case in cases(graph, n_channels):
                found.setdefault(where, {})[case.name] = row = measure(case, watch, copy)
                graphs.clear()
                print(
                    f"{where:17s} {case.name:15s} {1e6 * row['triton']:7.0f} us "
                    f"{1e6 * row['torch']:7.0f} us {row['ratio']:6.2f} {row['share of copy']:8.2f}",
                    flush=True,
                )
    served = is_served(torch.empty(0, device=device))
    if not served:
        print("Triton was refused: see the warning; both columns are operators of torch")
    about = {"rounds": given.rounds, "served": served, "machine": machine(given.threads, device)}
    write(given.output, "gpu_kernels", {**about, "copy": copy, "systems": found})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
