"""Relation schemes: how the edges of a structure are split into relations, from indices alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from itertools import combinations_with_replacement, product
from typing import ClassVar, final

import torch
from torch import Tensor

from hermnet.classes import ElementClasses
from hermnet.copies import Kinds, are_few, waits
from hermnet.errors import InputError, nearest
from hermnet.expansion import Expansion
from hermnet.kernels import indexing
from hermnet.unions import Linked, Links, union


class Scheme(ABC):
    """What decides the relation of an edge.

    Args:
        classes: the element classes that relations are made of.
    """

    n_sides: ClassVar[int] = 1
    separator: ClassVar[str] = "-"  # in a relation's name
    gated: ClassVar[bool]  # whether a copy appears only with its first neighbor

    def __init__(self, classes: ElementClasses) -> None:
        self.names = classes.names
        self.n_classes = len(classes.names)

    @property
    def n_relations(self) -> int:
        """Number of relations."""
        return len(self.members)

    @property
    @abstractmethod
    def members(self) -> tuple[tuple[int, ...], ...]:
        """The classes that make a relation, in the order of the relations' index."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The relations' names, in the order of their index; of its classes, in their order."""
        names = (self.separator.join(self.names[k] for k in member) for member in self.members)
        return tuple(name or "all" for name in names)

    @abstractmethod
    def links(self, classes: Tensor, centers: Tensor, neighbors: Tensor) -> Links:
        """Every edge with its relation and side; an edge may belong to several relations.

        Args:
            classes: (n_atoms,) int64, the class of each atom.
            centers: (n_edges,) int64, the receiving atoms.
            neighbors: (n_edges,) int64, the sending atoms.
        """

    @final
    def is_static(self, n_atoms: int, n_edges: int, n_kinds: int) -> bool:
        """Whether `expand` on an accelerator lists all copies, in use or not."""
        n_senders = max(n_atoms, n_kinds)
        return not self.gated and are_few(self.n_relations * n_senders, n_edges)

    def standing(self, classes: Tensor) -> Tensor | None:
        """The relation in which every atom receives, neighbors or not; None where there is none."""
        return None

    @final
    @torch.no_grad()
    def expand(
        self,
        classes: Tensor,
        centers: Tensor,
        neighbors: Tensor,
        part: Tensor | None = None,
        shares_sources: bool = False,
        kinds: Kinds | None = None,
    ) -> Expansion:
        """The disjoint union of the relation subgraphs.

        Args:
            classes: (n_atoms,) int64, the class of each atom.
            centers: (n_edges,) int64, the receiving atoms.
            neighbors: (n_edges,) int64, the sending atoms.
            part: (n_relations,) int64, a new number for each relation, -1 to leave it out; None
                keeps all.
            shares_sources: whether an atom has one source for all relations.
            kinds: atoms with the same features in the first layer; None where any may be.
        """
        links = self.links(classes, centers, neighbors)
        standing, n_relations = self.standing(classes), self.n_relations
        if part is not None:
            links, n_relations = _renumber(links, part), int((part >= 0).sum())
            standing = None if standing is None else part[standing]
        given = Linked(
            links=links,
            centers=centers,
            neighbors=neighbors,
            n_atoms=classes.shape[0],
            n_relations=n_relations,
            n_sides=self.n_sides,
            standing=standing,
            kinds=kinds,
            shares_sources=shares_sources,
            is_whole=part is None,
            lists_all=self._lists_all(classes, centers, kinds),
        )
        found = indexing.union(given) if indexing.takes(given) else union(given)
        return self._with_side_rows(found, n_relations, part)

    def _lists_all(self, classes: Tensor, centers: Tensor, kinds: Kinds | None) -> bool:
        n_kinds = 0 if kinds is None else kinds.atom.shape[0]
        sizes = classes.shape[0], centers.shape[0], n_kinds
        return waits(classes.device) and self.is_static(*sizes)

    def _with_side_rows(self, union: Expansion, n_relations: int, part: Tensor | None) -> Expansion:
        return union


def _renumber(links: Links, part: Tensor) -> Links:
    relation = part[links.relation]
    kept = relation >= 0
    return Links(links.edge[kept], relation[kept], links.side[kept])


def _all_edges(centers: Tensor) -> tuple[Tensor, Tensor]:
    return torch.arange(centers.shape[0], device=centers.device), torch.zeros_like(centers)


@final
class NoRelations(Scheme):
    """`none`: one relation for all edges; the homogeneous network."""

    gated = False

    @property
    def members(self) -> tuple[tuple[int, ...], ...]:
        """See `Scheme.members`; the name of a relation of nothing is ``all``."""
        return ((),)

    def links(self, classes: Tensor, centers: Tensor, neighbors: Tensor) -> Links:
        """See `Scheme.links`."""
        edge, zero = _all_edges(centers)
        return Links(edge, zero, zero)

    def standing(self, classes: Tensor) -> Tensor:
        """See `Scheme.standing`."""
        return torch.zeros_like(classes)


@final
class VertexRelations(Scheme):
    """`vertex` (HVNet): the relation of an edge is the class of the receiving atom."""

    gated = False

    @property
    def members(self) -> tuple[tuple[int, ...], ...]:
        """See `Scheme.members`; a name is such as ``O``."""
        return tuple((k,) for k in range(self.n_classes))

    def links(self, classes: Tensor, centers: Tensor, neighbors: Tensor) -> Links:
        """See `Scheme.links`."""
        edge, zero = _all_edges(centers)
        return Links(edge, classes[centers], zero)

    def standing(self, classes: Tensor) -> Tensor:
        """See `Scheme.standing`."""
        return classes


@final
class PairRelations(Scheme):
    """`pair` (HPNet): the relation of an edge is the ordered pair of its atoms' classes."""

    gated = True

    @property
    def members(self) -> tuple[tuple[int, ...], ...]:
        """See `Scheme.members`; neighbor first, such as ``H-O`` for messages from H to O."""
        return tuple(product(range(self.n_classes), repeat=2))

    def links(self, classes: Tensor, centers: Tensor, neighbors: Tensor) -> Links:
        """See `Scheme.links`."""
        edge, zero = _all_edges(centers)
        return Links(edge, classes[neighbors] * self.n_classes + classes[centers], zero)


@final
class TriadicRelations(Scheme):
    """`triadic` (HTNet): an unordered pair {a, b} of classes that both occur around the center.

    An edge from a neighbor of class a belongs to {a, b} for every class b around its center. It is
    on side 0 where a is the first of the pair, on side 1 where it is the second; both sides of
    {a, a} are the same edges, kept once on side 0.
    """

    gated = True
    n_sides = 2
    separator = "-*-"

    @property
    def members(self) -> tuple[tuple[int, ...], ...]:
        """See `Scheme.members`; the neighbors' classes around any center, such as ``H-*-O``."""
        return tuple(combinations_with_replacement(range(self.n_classes), 2))

    def _relation(self, first: Tensor, second: Tensor) -> Tensor:
        """Index of {first, second} with first <= second in the order of `labels`."""
        return first * self.n_classes - first * (first - 1) // 2 + (second - first)

    def links(self, classes: Tensor, centers: Tensor, neighbors: Tensor) -> Links:
        """See `Scheme.links`."""
        present = classes.new_zeros(classes.shape[0], self.n_classes, dtype=torch.bool)
        present[centers, classes[neighbors]] = True
        edge, other = present[centers].nonzero(as_tuple=True)
        own = classes[neighbors[edge]]
        relation = self._relation(torch.minimum(own, other), torch.maximum(own, other))
        return Links(edge, relation, (own > other).to(torch.int64))

    def _with_side_rows(self, union: Expansion, n_relations: int, part: Tensor | None) -> Expansion:
        receivers = union.receivers
        classes = torch.arange(self.n_classes, device=receivers.atom.device)
        like = classes.new_zeros(self.n_relations, dtype=torch.bool)
        like[self._relation(classes, classes)] = True
        if part is not None:
            like = like[torch.argsort(part)[-n_relations:]]
        rows = torch.arange(receivers.atom.shape[0], device=receivers.atom.device)
        relation = torch.searchsorted(receivers.offsets.to(torch.int64), rows, right=True)
        second = torch.where(like[relation], 0, 1)
        return replace(union, side_rows=torch.stack((2 * rows, 2 * rows + second), dim=1))


SCHEMES: dict[str, type[Scheme]] = {
    "none": NoRelations,
    "vertex": VertexRelations,
    "pair": PairRelations,
    "triadic": TriadicRelations,
}


def make_scheme(name: str, classes: ElementClasses) -> Scheme:
    """The scheme called `name`; an unknown name raises `InputError`."""
    if name not in SCHEMES:
        raise InputError(f"model.relations: unknown '{name}'; {nearest(name, SCHEMES)}")
    return SCHEMES[name](classes)
