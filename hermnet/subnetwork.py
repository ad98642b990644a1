"""The contract of a sub-network: one interaction layer on the union of relation subgraphs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from inspect import signature
from typing import Any, ClassVar

from torch import Tensor, nn

from hermnet.errors import InputError, nearest
from hermnet.geometry import RelationalGraph
from hermnet.registry import Registry
from hermnet.relational import RelationalLinear, Sharing

# Which layers know relations, by what `model.heterogeneity` says.
HETEROGENEITY: dict[str, tuple[str, ...]] = {
    "full": ("sources", "edges", "receivers"),
    "filters": ("edges",),
    "update": ("receivers",),
}


@dataclass(frozen=True)
class Shape:
    """What an interaction has to fit: sizes, relations, and how these share weights.

    Attributes:
        n_channels: channels of the features.
        lmax: highest degree of the features.
        n_radial: columns of `RelationalGraph.radial`.
        n_relations: number of relations.
        n_sides: 2 where an edge knows its side of a relation (`triadic`), else 1.
        sharing: how relations share weights.
        mean_neighbors: average number of neighbors of an atom in the training set.
        heterogeneity: which layers know relations: full, filters or update; all relations have the
            others in common.
    """

    n_channels: int
    lmax: int
    n_radial: int
    n_relations: int
    n_sides: int
    sharing: Sharing
    mean_neighbors: float
    heterogeneity: str = "full"

    @property
    def shares_sources(self) -> bool:
        """Whether no layer for sources knows relations, so that one source for an atom is enough.

        Without a relation to tell apart there is one source for an atom anyway.
        """
        return self._shares("sources")

    @property
    def shares_edges(self) -> bool:
        """Whether no layer for edges knows relations, so that an edge and its reverse have one."""
        return self._shares("edges")

    @property
    def mixes(self) -> bool:
        """Whether weights are mixed from a basis, for more relations than two."""
        return self.sharing.kind == "basis" and self.n_relations > 2

    def source_linear(self, n_in: int, n_out: int, bias: bool = True) -> RelationalLinear:
        """A linear layer for source copies; call it with ``graph.expansion.sources.segments``."""
        n_rows = self.n_relations * self.n_sides
        return RelationalLinear(n_in, n_out, n_rows, self._sharing("sources"), bias)

    def edge_linear(self, n_in: int, n_out: int, bias: bool = True) -> RelationalLinear:
        """A linear layer for edges; call it with ``graph.expansion.segments``."""
        n_rows = self.n_relations * self.n_sides
        return RelationalLinear(n_in, n_out, n_rows, self._sharing("edges"), bias)

    def receiver_linear(self, n_in: int, n_out: int, bias: bool = True) -> RelationalLinear:
        """A linear layer for receivers; call it with ``graph.expansion.receivers.segments``."""
        return RelationalLinear(n_in, n_out, self.n_relations, self._sharing("receivers"), bias)

    def _shares(self, rows: str) -> bool:
        return self._sharing(rows).kind == "shared" or self.n_relations * self.n_sides == 1

    def _sharing(self, rows: str) -> Sharing:
        knows = rows in HETEROGENEITY[self.heterogeneity]
        return self.sharing if knows else replace(self.sharing, kind="shared")


class Interaction(nn.Module, ABC):
    """One layer's sub-network, run once on all relations.

    A sub-network's own options are keyword arguments of its ``__init__`` after `shape`; a recipe
    sets them beside the name.

    Attributes:
        max_degree: highest degree it acts on; None for any.
        default_lmax: the features' lmax when the recipe does not say.
        uses_harmonics: whether it reads `RelationalGraph.harmonics`.
        two_way: whether it sends messages to all `RelationalGraph.ends`, so that an edge may stand
            for its reverse too: the length is the same, the direction the opposite.
    """

    max_degree: ClassVar[int | None]
    default_lmax: ClassVar[int]
    uses_harmonics: ClassVar[bool] = False
    two_way: ClassVar[bool] = False

    @abstractmethod
    def __init__(self, shape: Shape) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, x: Tensor, graph: RelationalGraph) -> Tensor:
        """The change of the receiving copies' features.

        Args:
            x: (n_atoms, (lmax+1)^2, n_channels), the atoms' features: degree 0 in row 0, degree 1
                in rows 1 to 3, and so on, in e3nn's order. Zero but for degree 0 where
                `graph.is_first`.
            graph: the union of the relation subgraphs.

        Returns:
            (n_receivers, (l+1)^2, n_channels) with l the highest degree it acts on. Without
            messages it may change a copy only through the copy's own features.
        """


SUBNETS: Registry[type[Interaction]] = Registry("hermnet.subnets", "sub-network")


@dataclass(frozen=True)
class SubnetChoice:
    """A sub-network with its options, as a recipe names it."""

    interaction: type[Interaction]
    options: Mapping[str, Any]

    def build(self, shape: Shape) -> Interaction:
        """One layer.

        Raises:
            InputError: for an option that the sub-network does not have, such as one that is
                younger than this version.
        """
        known = [name for name in signature(self.interaction).parameters if name != "shape"]
        for name in self.options:
            if name not in known:
                network = self.interaction.__name__
                raise InputError(
                    f"model.subnet: {network} has no option '{name}'; {nearest(name, known)}"
                )
        return self.interaction(shape, **self.options)


def parse_subnets(spec: str | Mapping[str, Any]) -> dict[str, SubnetChoice]:
    """Read a recipe's ``model.subnet``.

    Args:
        spec: a name; or ``{name: ..., option: ...}``; or one of these for each relation label, with
            ``default`` for the rest.

    Returns:
        The choices by relation label; a single one stands under ``default``.

    Raises:
        InputError: for an unknown name.
    """
    if isinstance(spec, str):
        return {"default": SubnetChoice(SUBNETS.get(spec), {})}
    if "name" in spec:
        options = {key: value for key, value in spec.items() if key != "name"}
        return {"default": SubnetChoice(SUBNETS.get(spec["name"]), options)}
    return {label: parse_subnets(one)["default"] for label, one in spec.items()}
