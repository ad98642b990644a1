"""SchNet: Schuett et al., J. Chem. Phys. 148, 241722 (2018), arXiv:1712.06113."""

from __future__ import annotations

import math
from typing import ClassVar, final

import torch.nn.functional as F
from torch import Tensor

from hermnet.errors import InputError
from hermnet.geometry import RelationalGraph
from hermnet.messages import product_messages
from hermnet.subnetwork import Interaction, Shape


@final
class SchNet(Interaction):
    r"""Interaction block of SchNet (section "Interaction blocks" and figure 2 of the paper).

    Atom-wise layers ``A`` around a continuous-filter convolution, with the shifted softplus
    ``ssp(x) = ln(e^x / 2 + 1 / 2)``::

        ds_i = A_2 ssp(A_1 sum_j (A_0 s_j) W(r_ij))
        W(r) = f(r) (B_2 ssp(B_1 e(r)))

    `e` is the radial basis and `f` the envelope; `A_0` has no bias. All belong to the relation, and
    with one relation the numbers are those of SchNetPack's `SchNetInteraction`.

    Args:
        shape: sizes and relations.
        n_filters: channels of the convolution; by default those of the features.

    Raises:
        InputError: for less than one filter.
    """

    max_degree: ClassVar[int | None] = 0
    default_lmax: ClassVar[int] = 0
    two_way: ClassVar[bool] = True

    def __init__(self, shape: Shape, *, n_filters: int | None = None) -> None:
        super().__init__(shape)
        c = shape.n_channels
        n = c if n_filters is None else n_filters
        if n < 1:
            raise InputError(f"model.subnet.n_filters: {n} is too small; at least 1")
        self.source = shape.source_linear(c, n, bias=False)
        self.filter_in = shape.edge_linear(shape.n_radial, n)
        self.filter_out = shape.edge_linear(n, n)
        self.update_in = shape.receiver_linear(n, c)
        self.update_out = shape.receiver_linear(c, c)

    def forward(self, x: Tensor, graph: RelationalGraph) -> Tensor:
        """See `Interaction.forward`."""
        edges, receivers = graph.expansion.segments, graph.expansion.receivers.segments
        s = self.source(graph.at_sources(x[:, 0]), graph.expansion.sources.segments)
        w = self.filter_out(_shifted_softplus(self.filter_in(graph.radial, edges)), edges)
        w = w * graph.envelope.unsqueeze(1)  # (n_edges, n_filters)
        total = product_messages(graph, s, w)
        hidden = _shifted_softplus(self.update_in(total, receivers))
        ds: Tensor = self.update_out(hidden, receivers)
        return ds.unsqueeze(1)


def _shifted_softplus(x: Tensor) -> Tensor:
    return F.softplus(x) - math.log(2.0)
