"""A network in the manner of NequIP: Batzner et al., Nat. Commun. 13, 2453 (2022)."""

from __future__ import annotations

import math
from collections import Counter
from functools import cached_property
from itertools import pairwise
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hermnet.errors import InputError
from hermnet.geometry import RelationalGraph
from hermnet.grouped import is_tracing
from hermnet.kernels import coupling, equivariant
from hermnet.subnetwork import Interaction, Shape

_SMALL = 16  # entries of a matrix that compiled code multiplies faster as sums: those of lmax 1
_RADIAL_SCALE = 5.0  # radial basis times envelope is mostly between 0.1 and 0.2; brings it near one
_SILU_SCALE = 1.679  # gives silu(x) unit second moment for normal x, as in e3nn


@final
class NequIP(Interaction):
    r"""Interaction block of features of any degree, parity (-1)^l (figure 1 and "Methods").

    Message of a neighbor, summed over all paths (l1, l2) into a degree l3, with Clebsch-Gordan
    tensors C normalised as e3nn's ``component`` and radial weights R of each path and channel::

        m_ij^l3 = sum_(l1, l2) R_(l1, l2, l3)(r_ij) sqrt(2 l3 + 1) / sqrt(n_paths(l3))
                  C^(l1, l2, l3) (A^l1 x_j^l1) Y^l2(r_ij)

    Update, with gates ``g`` that are further scalars of the same linear layer::

        y_i^l  = B^l sum_j m_ij^l / sqrt(mean number of neighbors) + D^l x_i^l
        dx_i^0 = silu(y_i^0)        dx_i^l = sigmoid(g_i^l) y_i^l

    `A`, `B`, `D` and the network behind `R` belong to the relation. That network sees radial basis
    times envelope and has no biases, so that messages vanish at the cutoff. Unlike in the published
    network the paths into a degree are added up in the message, channel by channel, and not mixed
    after the sum over neighbors; and each degree has one parity only.

    Args:
        shape: sizes and relations.
        radial_hidden: width of the radial network.
        radial_layers: its number of hidden layers.

    Raises:
        InputError: for less than one layer or column of the radial network.
    """

    max_degree: ClassVar[int | None] = None
    default_lmax: ClassVar[int] = 2
    uses_harmonics: ClassVar[bool] = True
    two_way: ClassVar[bool] = True

    def __init__(self, shape: Shape, *, radial_hidden: int = 64, radial_layers: int = 2) -> None:
        super().__init__(shape)
        if min(radial_hidden, radial_layers) < 1:
            raise InputError(
                "model.subnet: radial_hidden and radial_layers have to be at least 1, "
                f"not {radial_hidden} and {radial_layers}"
            )
        c, lmax = shape.n_channels, shape.lmax
        self.n_channels = c
        self.rows = [2 * degree + 1 for degree in range(lmax + 1)]
        self.product = TensorProduct(lmax)
        self.source = nn.ModuleList(shape.source_linear(c, c, bias=False) for _ in self.rows)
        widths = [shape.n_radial + 1] + [radial_hidden] * radial_layers
        self.radial = nn.ModuleList(
            shape.edge_linear(a, b, bias=False) for a, b in pairwise(widths)
        )
        self.weights = shape.edge_linear(radial_hidden, len(self.product.paths) * c, bias=False)
        # Messages of about unit size, which component normalisation counts on: from the Glorot
        # variance 2 / (n_in + n_out) of the weights to 1 / n_in, and from silu's size to one.
        glorot = math.sqrt((1 + len(self.product.paths) * c / radial_hidden) / 2)
        neighbors = math.sqrt(max(shape.mean_neighbors, 1.0))
        self.scale = glorot * _SILU_SCALE**radial_layers / neighbors
        outputs = [c * (lmax + 1)] + [c] * lmax  # degree 0 brings a gate for each higher one
        self.update = nn.ModuleList(shape.receiver_linear(2 * c, n, bias=False) for n in outputs)

    def forward(self, x: Tensor, graph: RelationalGraph) -> Tensor:
        """See `Interaction.forward`."""
        assert graph.harmonics is not None, "uses_harmonics asks for them"
        sources = graph.expansion.sources.segments
        parts = zip(self.source, graph.at_sources(x).split(self.rows, dim=1), strict=True)
        h = torch.cat([linear(part, sources) for linear, part in parts], dim=1)
        if graph.is_first:
            h = h[:, :1]  # after all linear layers, so that each has a gradient
        total = self._sum(h, graph.harmonics, graph) * self.scale
        return self._update(torch.cat((total, graph.at_receivers(x)), dim=2), graph)

    def _sum(self, h: Tensor, harmonics: Tensor, graph: RelationalGraph) -> Tensor:
        """Messages of sources, all degrees or scalars, summed (n_receivers, m, n_channels)."""
        weights = self._path_weights(graph, self.product.n_paths_from(h))
        if equivariant.takes(h, harmonics, weights):
            ends = graph.centers, graph.neighbors
            form = self.product.form(weights.shape[1])
            return form.summed(h, harmonics, weights, ends, graph.n_receivers)
        rows, senders = graph.ends
        if coupling.takes(h, harmonics, weights):
            table, n_rows = self.product.table, graph.expansion.n_rows
            edges = coupling.Edges(table, rows, senders)
            return graph.over_sides(coupling.coupled_sum(h, harmonics, weights, edges, n_rows))
        harmonics = graph.for_each_way(harmonics, self.product.parity)
        moved = h.index_select(0, senders.reshape(-1))
        return graph.sum_ways(self.product(moved, harmonics, graph.for_each_way(weights)))

    def _path_weights(self, graph: RelationalGraph, n_paths: int) -> Tensor:
        """Of the first paths (n_edges, n_paths, n_channels), zero at the cutoff."""
        edges = graph.expansion.segments
        r = graph.enveloped * _RADIAL_SCALE
        for linear in self.radial:
            r = F.silu(linear(r, edges))
        weights: Tensor = self.weights(r, edges, n_paths * self.n_channels)
        return weights.view(weights.shape[0], n_paths, self.n_channels)

    def _update(self, y: Tensor, graph: RelationalGraph) -> Tensor:
        """Linear layers and gates on messages and own features (n_receivers, m, 2 n_channels)."""
        segments = graph.expansion.receivers.segments
        parts = zip(self.update, y.split(self.rows, dim=1), strict=True)
        scalars, *higher = [linear(part, segments) for linear, part in parts]
        s, *gates = scalars.chunk(len(self.rows), dim=2)  # each (n_receivers, 1, n_channels)
        gated = [torch.sigmoid(g) * part for g, part in zip(gates, higher, strict=True)]
        return torch.cat((F.silu(s), *gated), dim=1)


@final
class TensorProduct(nn.Module):
    r"""Weighted Clebsch-Gordan product of features and harmonics, channel by channel.

    The harmonics of an edge meet the Clebsch-Gordan tensors first, which leaves one small matrix
    for each edge and output degree; only these meet the channels.

    Args:
        lmax: highest degree of features, harmonics and result; parity is (-1)^l.

    Attributes:
        paths: degrees (l1, l2, l3) of features, harmonics and result, in the order of the weights.
    """

    def __init__(self, lmax: int) -> None:
        super().__init__()
        from e3nn import o3  # late: its import takes seconds

        kinds = [ir for _, ir in o3.Irreps.spherical_harmonics(lmax)]
        found = [(a.l, b.l, c.l) for a in kinds for b in kinds for c in a * b if c in kinds]
        self.paths = sorted(found, key=lambda path: (path[0], path[2], path[1]))
        self.rows = [2 * degree + 1 for degree in range(lmax + 1)]
        tensors = _tensors(self.paths)
        blocks = [_coupling(self.paths, tensors, degree) for degree in range(lmax + 1)]
        self.sizes = [block.shape[1] * block.shape[2] for block in blocks]
        self.coupling: Tensor  # (n_harmonics, sum(sizes))
        self.table: Tensor  # the tensors of all paths, one after another
        self.parity: Tensor  # (n_harmonics,) of the harmonics
        for name, buffer in (
            ("coupling", torch.cat([block.flatten(1) for block in blocks], dim=1)),
            ("table", torch.cat([tensor.flatten() for tensor in tensors])),
            ("parity", torch.cat([torch.full((n,), (-1.0) ** (n // 2)) for n in self.rows])),
        ):
            self.register_buffer(name, buffer.to(torch.get_default_dtype()), persistent=False)
        self._forms: dict[int, equivariant.Form] = {}
        ends = Counter((l1, l3) for l1, _, l3 in self.paths)
        self.n_paths = [[ends[l1, l3] for l3 in range(lmax + 1)] for l1 in range(lmax + 1)]

    def n_paths_from(self, x: Tensor) -> int:
        """How many paths, the first ones, begin at features (n, (l1max+1)^2, n_channels)."""
        return sum(map(sum, self.n_paths[: math.isqrt(x.shape[1])]))

    def forward(self, x: Tensor, harmonics: Tensor, weights: Tensor) -> Tensor:
        """The product.

        Args:
            x: (n_edges, (l1max+1)^2, n_channels); paths from higher degrees are left out.
            harmonics: (n_edges, (lmax+1)^2).
            weights: (n_edges, n_paths_from(x), n_channels).

        Returns:
            (n_edges, (lmax+1)^2, n_channels).
        """
        n_degrees = math.isqrt(x.shape[1])
        counts = self.n_paths[:n_degrees]
        parts = x.split(self.rows[:n_degrees], dim=1)
        by_l1 = weights.unsqueeze(2).split([sum(n) for n in counts], dim=1)
        weighted = []  # for each l1, the rows into every l3
        for part, weight, n_paths in zip(parts, by_l1, counts, strict=True):
            rows = (weight * part.unsqueeze(1)).flatten(1, 2)
            weighted.append(rows.split([n * part.shape[1] for n in n_paths], dim=1))
        couplings = (harmonics @ self.coupling).split(self.sizes, dim=1)
        results = [
            _contract(coupling, torch.cat(rows, dim=1), n)
            for n, coupling, *rows in zip(self.rows, couplings, *weighted, strict=True)
        ]
        return torch.cat(results, dim=1)

    def form(self, n_paths: int) -> equivariant.Form:
        """The first paths with gathered features, summed where they are received."""
        if n_paths not in self._forms:
            tensors = self._tensors[:n_paths]
            self._forms[n_paths] = equivariant.Form(self.paths[:n_paths], tensors, self.forward)
        return self._forms[n_paths]

    @cached_property
    def _tensors(self) -> list[Tensor]:
        """C of each path, (2 l1 + 1, 2 l2 + 1, 2 l3 + 1)."""
        sizes = [math.prod(2 * degree + 1 for degree in path) for path in self.paths]
        parts = self.table.detach().cpu().split(sizes)
        shapes = [[2 * degree + 1 for degree in (l2, l3, l1)] for l1, l2, l3 in self.paths]
        return [
            part.view(shape).permute(2, 0, 1) for part, shape in zip(parts, shapes, strict=True)
        ]


def _tensors(paths: list[tuple[int, int, int]]) -> list[Tensor]:
    """Scaled Clebsch-Gordan tensor of each path, (2 l2 + 1, 2 l3 + 1, 2 l1 + 1) float64."""
    from e3nn import o3  # late, as above

    n_into = Counter(l3 for *_, l3 in paths)
    return [
        math.sqrt((2 * l3 + 1) / n_into[l3])
        * o3.wigner_3j(l1, l2, l3, dtype=torch.float64).permute(1, 2, 0)
        for l1, l2, l3 in paths
    ]


def _coupling(paths: list[tuple[int, int, int]], tensors: list[Tensor], degree: int) -> Tensor:
    """Tensors of all paths into a degree, (n_harmonics, 2 degree + 1, rows of their features)."""
    n_harmonics = (max(l2 for _, l2, _ in paths) + 1) ** 2
    blocks = []
    for (_, l2, l3), tensor in zip(paths, tensors, strict=True):
        if l3 == degree:
            block = tensor.new_zeros(n_harmonics, *tensor.shape[1:])
            block[l2 * l2 : (l2 + 1) ** 2] = tensor
            blocks.append(block)
    return torch.cat(blocks, dim=2)


def _contract(coupling: Tensor, rows: Tensor, n_out: int) -> Tensor:
    """(n_edges, n_out * n) and the first k of n rows, (n_edges, k, n_channels), give n_out rows."""
    coupling = coupling.unflatten(1, (n_out, -1))[:, :, : rows.shape[1]]
    is_small = n_out * rows.shape[1] <= _SMALL
    # torch.bmm is slow where a matrix has a single row; a compiler fuses short sums
    if n_out == 1 or (is_small and is_tracing()):
        return (coupling.unsqueeze(3) * rows.unsqueeze(1)).sum(dim=2)
    return torch.bmm(coupling, rows)
