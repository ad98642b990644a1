"""The relations of a model, and which rows of its weights are theirs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from hermnet.network import Network
from hermnet.relational import RelationalLinear
from hermnet.training.inheritance import relational_layers


@dataclass(frozen=True)
class Relation:
    """One relation of a model.

    Attributes:
        index: its number.
        label: its name.
        members: the classes that make it; see `hermnet.relations.Scheme.members`.
        part: the number of the sub-network that serves it.
        row: its number among the relations which that sub-network serves.
        n_served: how many these are.
    """

    index: int
    label: str
    members: tuple[int, ...]
    part: int
    row: int
    n_served: int

    def rows(self, layer: RelationalLinear) -> list[int]:
        """The matrices of a layer that the relation uses, one for each side.

        The second side of a relation between like classes has no edges; the first stands for it.
        """
        n_sides = layer.n_relations // self.n_served
        is_alike = len(self.members) == 2 and self.members[0] == self.members[1]
        return [n_sides * self.row + (0 if is_alike else side) for side in range(n_sides)]


def relations_of(model: Network) -> list[Relation]:
    """All relations of a model, in the order of their index."""
    scheme = model.router.scheme
    found = [
        Relation(index, scheme.labels[index], scheme.members[index], part, row, len(served))
        for part, served in enumerate(model.router.served)
        for row, index in enumerate(served)
    ]
    return sorted(found, key=lambda relation: relation.index)


def knowing_layers(model: Network, part: int) -> Iterator[tuple[int, str, RelationalLinear]]:
    """The layers of a part that have a matrix for each relation.

    Yields:
        The number of the interaction, the layer's name in it, and the layer.
    """
    for depth, interaction in enumerate(model.router.parts(part)):
        for name, layer in relational_layers(interaction).items():
            if layer.stack().shape[0] > 1:
                yield depth, name, layer


def interactions_of(model: Network, relation: Relation) -> list[nn.Module]:
    """The interactions that serve a relation, layer by layer."""
    return model.router.parts(relation.part)
