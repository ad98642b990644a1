"""PaiNN, as published: Schuett, Unke and Gastegger, ICML 2021, arXiv:2102.03150."""

from __future__ import annotations

from typing import ClassVar, final

import torch
from torch import Tensor

from hermnet.errors import InputError
from hermnet.expansion import Segments
from hermnet.geometry import SOFTNESS, RelationalGraph, soft_norm
from hermnet.messages import scalars_and_vectors, up_to_vectors, vector_messages
from hermnet.perceptron import relational_perceptron
from hermnet.subnetwork import Interaction, Shape


@final
class PaiNN(Interaction):
    r"""Message and update block of PaiNN.

    Message, with ``f`` the filter of an edge and ``phi`` the source's transform (eq. 7, 8)::

        ds_i = sum_j phi_s(s_j) f_s(r_ij)
        dv_i = sum_j v_j phi_vv(s_j) f_vv(r_ij) + phi_vs(s_j) f_vs(r_ij) r_ij / |r_ij|

    Update (eq. 9, 10), on the features after the message::

        ds_i = a_ss(s_i, |V v_i|) + a_sv(s_i, |V v_i|) <U v_i, V v_i>
        dv_i = a_vv(s_i, |V v_i|) U v_i

    `phi`, `f`, `a`, `U` and `V` belong to the relation, and ``|w|`` is ``sqrt(w.w + epsilon)``.
    The smaller it is, the sharper the kink where a vector vanishes. With 1e-8, as in the code of
    PaiNN's authors, the energy of simulations wanders wherever a vector passes zero, and on the
    sites of perfect crystals, where all vectors vanish, force constants depend on the displacement
    by which they are measured. The default mends both; 1 makes phonons of silicon stable.

    Args:
        shape: sizes and relations.
        epsilon: under the root of the norm; 1 for crystals.

    Raises:
        InputError: for an epsilon that is not positive.
    """

    max_degree: ClassVar[int | None] = 1
    default_lmax: ClassVar[int] = 1
    two_way: ClassVar[bool] = True

    def __init__(self, shape: Shape, *, epsilon: float = SOFTNESS) -> None:
        super().__init__(shape)
        if not epsilon > 0:
            raise InputError(f"model.subnet.epsilon: {epsilon} is not a positive number")
        self.epsilon = epsilon
        c = shape.n_channels
        self.source_in = shape.source_linear(c, c)
        self.source_out = shape.source_linear(c, 3 * c)
        self.filter = shape.edge_linear(shape.n_radial + 1, 3 * c, bias=False)
        self.mix = shape.receiver_linear(c, 2 * c, bias=False)
        self.update_in = shape.receiver_linear(2 * c, c)
        self.update_out = shape.receiver_linear(c, 3 * c)

    def forward(self, x: Tensor, graph: RelationalGraph) -> Tensor:
        """See `Interaction.forward`."""
        message = self._message(x, graph)
        x = graph.at_receivers(up_to_vectors(x)) + message
        return message + self._update(x, graph.expansion.receivers.segments)

    def _message(self, x: Tensor, graph: RelationalGraph) -> Tensor:
        sources = graph.expansion.sources
        s, v = scalars_and_vectors(x)
        layers = self.source_in, self.source_out
        phi = relational_perceptron(layers, s, sources.segments, sources.atom)
        return graph.over_sides(vector_messages(graph, phi, v, self.filter))

    def _update(self, x: Tensor, segments: Segments) -> Tensor:
        s, v = scalars_and_vectors(x)
        big_v, big_u = self.mix(v, segments).chunk(2, dim=2)  # (n_receivers, 3, n_channels)
        norm = soft_norm(big_v, self.epsilon)
        layers = self.update_in, self.update_out
        a = relational_perceptron(layers, torch.cat((s, norm), dim=1), segments)
        own, vector, inner = a.chunk(3, dim=1)
        ds = own + inner * (big_u * big_v).sum(dim=1)
        return torch.cat((ds.unsqueeze(1), vector.unsqueeze(1) * big_u), dim=1)
