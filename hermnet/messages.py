"""Messages of scalars and vectors through a linear filter, summed where they are received."""

from __future__ import annotations

import torch
from torch import Tensor

from hermnet.geometry import RelationalGraph
from hermnet.kernels.message import Edges, filtered_message, takes
from hermnet.relational import RelationalLinear
from hermnet.segments import segment_sum


def vector_messages(
    graph: RelationalGraph, phi: Tensor, v: Tensor, linear: RelationalLinear
) -> Tensor:
    """``sum_j [phi_s f_s ; phi_r f_r r_ij / |r_ij| + phi_v f_v v_j]``; Schuett 2021, eq. 7 and 8.

    Args:
        graph: the union of the relation subgraphs.
        phi: (n_sources, 3 n_channels), the sources' transform.
        v: (n_atoms, 3, n_channels).
        linear: makes the filter f of the enveloped radial basis; its bias meets the envelope.

    Returns:
        (n_receivers * n_sides, 4, n_channels), on the rows `side_centers`.
    """
    expansion = graph.expansion
    n_rows = graph.n_receivers * graph.n_sides
    if takes(phi, v, graph.enveloped):
        basis = graph.enveloped
        weight = linear.matrices(basis.shape[1])
        edges = Edges(
            expansion.offsets, expansion.side_centers, graph.neighbors, expansion.neighbor_atoms
        )
        return filtered_message(phi, v, basis, graph.directions, weight, edges, n_rows)
    f = linear(graph.enveloped, expansion.offsets)
    # Three products of contiguous thirds: a third of the whole product is a strided view, on
    # which everything that follows, derivatives included, is slower.
    scalar, radial, vector = (
        third.contiguous().index_select(0, graph.neighbors) * weight
        for third, weight in zip(phi.chunk(3, dim=1), f.chunk(3, dim=1), strict=True)
    )
    moved = graph.at_neighbors(v)  # (n_edges, 3, n_channels)
    dv = radial.unsqueeze(1) * graph.directions.unsqueeze(2) + vector.unsqueeze(1) * moved
    sums = [segment_sum(m, expansion.side_centers, n_rows) for m in (scalar.unsqueeze(1), dv)]
    return torch.cat(sums, dim=1)
