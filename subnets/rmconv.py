"""RMConv, HermNet's own sub-network: Wang et al., npj Comput. Mater. 8, 53 (2022), figure 3."""

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
class RMConv(Interaction):
    r"""Radial message and update, angular message and update (figure 3b to 3f of the paper).

    Radial message and update, with ``w`` the filter of an edge, which carries the envelope ``f``,
    and ``phi`` the source's transform, as in PaiNN; of two sides (`triadic`) the mean is added::

        a_ij = phi_s(s_j) w_s(r_ij)                                     s'_i = s_i + sum_j a_ij
        b_ij = v_j phi_vv(s_j) w_vv(r_ij) + phi_vs(s_j) w_vs(r_ij) r_ij / |r_ij|
                                                                        v'_i = v_i + sum_j b_ij

    Angular message, for each side k of the relation::

        m_ik = sum_j b_ij / (1 + sum_j f(r_ij))                         j on side k

    Angular update, with k' the opposite side and <m> the mean over the sides::

        ds_i = g_ss + g_sv mean_k (U m_ik . V m_ik')                    g = g(s'_i, |v'_i|)
        dv_i = g_vv U <m_i>

    `phi`, `w`, `g`, `U` and `V` belong to the relation. The published code differs in this:

    - Its scalar product is that of one normalised vector with itself, which is 1 whatever the
      geometry. Two learned mixtures, U and V, make it a sum of cosines over pairs of neighbors; it
      is not normalised, which would not be smooth where a mean vanishes.
    - Its mean over neighbors jumps when a neighbor leaves, and its triadic filter does not vanish
      at the cutoff. Here every sum carries the envelope, and the 1 keeps the mean smooth when the
      last neighbor leaves.
    - It averages vectors and coefficients g of the neighbors after their own radial update. That
      exists only for neighbors which receive in the same relation; here the vector is the one that
      the edge brings, and g is the receiver's.
    - Its dropout is left out: energies and forces have to be a function of the positions.

    ``|v|`` is ``sqrt(v.v + epsilon)``, see `PaiNN`.

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
        sums = graph.by_side(self._messages(x, graph))  # (n_receivers, n_sides, 4, n_channels)
        radial = sums.mean(dim=1)
        weights = 1.0 + graph.neighbor_counts  # (n_receivers, n_sides)
        means = sums[:, :, 1:] / weights[:, :, None, None]
        x = graph.at_receivers(up_to_vectors(x)) + radial
        return radial + self._angular_update(x, means, graph.expansion.receivers.segments)

    def _messages(self, x: Tensor, graph: RelationalGraph) -> Tensor:
        """Sums of radial messages, (n_receivers * n_sides, 4, n_channels)."""
        sources = graph.expansion.sources
        s, v = scalars_and_vectors(x)
        layers = self.source_in, self.source_out
        phi = relational_perceptron(layers, s, sources.segments, sources.atom)
        return vector_messages(graph, phi, v, self.filter)

    def _angular_update(self, x: Tensor, means: Tensor, segments: Segments) -> Tensor:
        """The change by the sides' means (n_receivers, n_sides, 3, n_channels)."""
        big_u, big_v = self.mix(means, segments).chunk(2, dim=3)
        inner = (big_u * big_v.flip(1)).sum(dim=2).mean(dim=1)  # (n_receivers, n_channels)
        s, v = scalars_and_vectors(x)
        norm = soft_norm(v, self.epsilon)
        layers = self.update_in, self.update_out
        g = relational_perceptron(layers, torch.cat((s, norm), dim=1), segments)
        own, vector, angle = g.chunk(3, dim=1)
        ds = own + angle * inner
        dv = vector.unsqueeze(1) * big_u.mean(dim=1)
        return torch.cat((ds.unsqueeze(1), dv), dim=1)
