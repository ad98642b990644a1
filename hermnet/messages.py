"""Messages of scalars and vectors through filters, summed where they are received."""

from __future__ import annotations

import torch
from torch import Tensor

from hermnet.geometry import RelationalGraph
from hermnet.kernels import convolution, message
from hermnet.relational import RelationalLinear


def scalars_and_vectors(x: Tensor) -> tuple[Tensor, Tensor]:
    """Features (n, m, n_channels) as scalars (n, n_channels) and vectors (n, 3, n_channels)."""
    s, v = up_to_vectors(x).split((1, 3), dim=1)  # one split: the derivative is one tensor
    return s.squeeze(1), v


def up_to_vectors(x: Tensor) -> Tensor:
    """Features (n, m, n_channels) without degrees above 1, (n, 4, n_channels)."""
    return x if x.shape[1] == 4 else x[:, :4]


def vector_messages(
    graph: RelationalGraph, phi: Tensor, v: Tensor, linear: RelationalLinear
) -> Tensor:
    """``sum_j [phi_s f_s ; phi_r f_r r_ij / |r_ij| + phi_v f_v v_j]``; Schuett 2021, eq. 7 and 8.

    Where an edge stands for its reverse too, its filter serves both.

    Args:
        graph: the union of the relation subgraphs.
        phi: (n_sources, 3 n_channels), the sources' transform.
        v: (n_atoms, 3, n_channels).
        linear: makes the filter f of the enveloped radial basis; its bias meets the envelope.

    Returns:
        (n_receivers * n_sides, 4, n_channels), on the rows `side_centers`.
    """
    expansion = graph.expansion
    rows, senders = graph.ends
    if message.takes(phi, v, graph.enveloped):
        if graph.is_first and not v.is_cuda:
            v = v.new_zeros(0, *v.shape[1:])  # so the kernel knows
        edges = message.Edges(expansion.offsets, rows, senders, graph.sending_atoms)
        inputs = phi, v, graph.enveloped, graph.directions, linear.stack(expansion.slots)
        return message.filtered_message(*inputs, edges, expansion.n_rows)
    f = graph.for_each_way(linear(graph.enveloped, expansion.segments))
    directions = graph.for_each_way(graph.directions, parity=-1.0)
    # Three products of contiguous thirds: a third of the whole product is a strided view, on
    # which everything that follows, derivatives included, is slower.
    scalar, radial, vector = (
        third.contiguous().index_select(0, senders.reshape(-1)) * weight
        for third, weight in zip(phi.chunk(3, dim=1), f.chunk(3, dim=1), strict=True)
    )
    dv = radial.unsqueeze(1) * directions.unsqueeze(2)  # (n_ways, 3, n_channels)
    if not graph.is_first:
        dv = dv + vector.unsqueeze(1) * v.index_select(0, graph.sending_atoms.reshape(-1))
    sums = [graph.sum_on_rows(m) for m in (scalar.unsqueeze(1), dv)]
    return torch.cat(sums, dim=1)


def product_messages(graph: RelationalGraph, values: Tensor, weights: Tensor) -> Tensor:
    """``sum_j values_j weights_ij`` on the receiving copies, (n_receivers, n_channels).

    Where an edge stands for its reverse too, its weights serve both.

    Args:
        graph: the union of the relation subgraphs.
        values: (n_sources, n_channels).
        weights: (n_edges, n_channels).
    """
    rows, senders = graph.ends
    if convolution.takes(values, weights):
        n_rows = graph.expansion.n_rows
        return graph.over_sides(convolution.product_sum(values, weights, rows, senders, n_rows))
    moved = values.index_select(0, senders.reshape(-1))
    return graph.sum_ways(moved * graph.for_each_way(weights))
