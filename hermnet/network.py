"""`Network`: what all models share, from a graph's indices and edge vectors to features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from hermnet.classes import ElementClasses, element_classes
from hermnet.copies import Kinds
from hermnet.cuda_graphs import Replayed
from hermnet.data.facts import Facts
from hermnet.elements import symbol
from hermnet.envelopes import make_envelope
from hermnet.errors import InputError
from hermnet.expansion import Expansion
from hermnet.geometry import Geometry
from hermnet.graph import AtomicGraph
from hermnet.model_options import ModelOptions
from hermnet.radial import make_radial_basis
from hermnet.relational import Sharing
from hermnet.relations import Scheme, make_scheme
from hermnet.router import Router, assign_relations
from hermnet.subnetwork import Shape, SubnetChoice, parse_subnets
from hermnet.two_way import two_way

_N_NUMBERS = 119  # atomic numbers 0 to 118


@dataclass(frozen=True)
class Indices:
    """Everything of a graph that the features need besides the edge vectors."""

    types: Tensor  # (n_atoms,) int64
    centers: Tensor  # (n_edges,) int64
    neighbors: Tensor  # (n_edges,) int64
    expansions: list[Expansion]


torch.export.register_dataclass(Indices)


class Network(nn.Module, ABC):
    """Embedding and interactions; a subclass reads out of the features what it predicts.

    Args:
        options: the recipe's ``model`` section.
        elements: the atomic numbers it knows; their order is that of the weights.
        mean_neighbors: average number of neighbors of an atom in the training set.

    Raises:
        InputError: for options that do not fit together or name something unknown.
    """

    def __init__(
        self, options: ModelOptions, elements: tuple[int, ...], mean_neighbors: float
    ) -> None:
        super().__init__()
        self.options = options
        self.elements = tuple(elements)
        self.mean_neighbors = mean_neighbors
        self.cutoff = options.cutoff
        self.dtype = options.torch_dtype
        self._indexing: Replayed | None = None  # of graphs on a GPU
        classes = element_classes(options.classes, self.elements)
        self.register_buffer("type_of_number", type_table(self.elements), persistent=False)
        self.register_buffer("class_of_type", torch.tensor(classes.of_type), persistent=False)
        self.type_of_number: Tensor
        self.class_of_type: Tensor
        with default_dtype(self.dtype):
            self.router = _make_router(
                options, parse_subnets(options.subnet), classes, mean_neighbors
            )
            self.embedding = nn.Embedding(len(self.elements), options.n_channels)

    @abstractmethod
    def forward(self, graph: AtomicGraph) -> Any:
        """Predict, for structures with a neighbor list of at least this model's cutoff.

        Raises:
            InputError: for an element that the model does not know.
        """

    @property
    @abstractmethod
    def head(self) -> nn.Module:
        """The readout: from features to what is predicted."""

    @property
    @abstractmethod
    def units(self) -> dict[str, str]:
        """The unit of each target that data declare; empty where all units are fixed."""

    @property
    def scheme(self) -> Scheme:
        """What decides the relation of an edge."""
        return self.router.scheme

    @property
    def relation_labels(self) -> tuple[str, ...]:
        """The names of the relations, in the order of their index."""
        return self.scheme.labels

    def labels_of(self, elements: tuple[int, ...]) -> tuple[str, ...]:
        """The names of the relations that a model of these elements has."""
        classes = element_classes(self.options.classes, elements)
        return make_scheme(self.options.relations, classes).labels

    def indices(self, graph: AtomicGraph) -> Indices:
        """Types and relations of a graph; no gradient."""
        tables = self.type_of_number, self.class_of_type
        found = self._types_and_expansions(
            *tables, graph.atomic_numbers, graph.centers, graph.neighbors
        )
        return Indices(found[0], graph.centers, graph.neighbors, found[1])

    def _types_and_expansions(
        self,
        type_of_number: Tensor,
        class_of_type: Tensor,
        atomic_numbers: Tensor,
        centers: Tensor,
        neighbors: Tensor,
    ) -> tuple[Tensor, list[Expansion]]:
        types = types_of(atomic_numbers, type_of_number, self.elements)
        classes = class_of_type.index_select(0, types)
        kinds = kinds_of(types, len(self.elements))
        return types, self.router.expand(classes, centers, neighbors, kinds)

    def lean_indices(self, graph: AtomicGraph) -> Indices:
        """`indices` in the quickest way, without relations of which the graph has nothing."""
        sizes = graph.n_atoms, graph.n_edges, len(self.elements) + 1
        if graph.centers.is_cuda and self.router.is_static(*sizes):
            return self._recorded_indices(graph)
        found = self.two_way_indices(graph)
        return replace(found, expansions=self.router.in_use(found.expansions))

    def two_way_indices(self, graph: AtomicGraph) -> Indices:
        """`indices`, in which edges stand for their reverses too where a sub-network lets them."""
        found, edges = self.indices(graph), (graph.centers, graph.neighbors, graph.shifts)
        return replace(found, expansions=two_way(found.expansions, self.router.two_way, *edges))

    def _recorded_indices(self, graph: AtomicGraph) -> Indices:
        tables = self.type_of_number, self.class_of_type
        edges = graph.centers, graph.neighbors
        if self._indexing is None:
            self._indexing = Replayed(self._types_and_expansions, len(tables))
        with torch.no_grad():
            types, expansions = self._indexing(*tables, graph.atomic_numbers, *edges)
        return Indices(types, *edges, expansions)

    def types(self, atomic_numbers: Tensor) -> Tensor:
        """Index of each atom's element, (n_atoms,); an unknown element raises `InputError`."""
        return types_of(atomic_numbers, self.type_of_number, self.elements)

    def classes_of(self, atomic_numbers: Tensor) -> Tensor:
        """Index of each atom's class, (n_atoms,); an unknown element raises `InputError`."""
        return self.class_of_type.index_select(0, self.types(atomic_numbers))

    def count_edges(self, facts: Facts) -> dict[str, int]:
        """Number of edges of each relation in a set of graphs, by the relation's label."""
        scheme, stars = self.scheme, facts.environments.stars()
        classes = self.classes_of(stars.atomic_numbers)
        links = scheme.links(classes, stars.centers, stars.neighbors)
        totals = torch.zeros(scheme.n_relations, dtype=torch.int64)
        totals.index_add_(0, links.relation, stars.counts[links.edge])
        return dict(zip(scheme.labels, totals.tolist(), strict=True))

    def features(self, vectors: Tensor, indices: Indices) -> Tensor:
        """Features (n_atoms, (lmax+1)^2, n_channels) as a function of the edge vectors in A."""
        scalars = self.embedding(indices.types)  # (n_atoms, n_channels)
        result: Tensor = self.router(scalars, vectors, indices.expansions)
        return result


def type_table(elements: tuple[int, ...]) -> Tensor:
    """For each atomic number its index among `elements`, -1 where it is none of them."""
    types = torch.full((_N_NUMBERS,), -1)
    types[list(elements)] = torch.arange(len(elements))
    return types


def types_of(atomic_numbers: Tensor, table: Tensor, elements: tuple[int, ...]) -> Tensor:
    """Index of each atom's element, (n_atoms,).

    Args:
        atomic_numbers: (n_atoms,) int64.
        table: from `type_table`.
        elements: those that the model knows.

    Raises:
        InputError: for an element that it does not know.
    """
    types = table.index_select(0, atomic_numbers)
    # On an accelerator the look would wait for the device; data modules have checked already.
    if types.device.type == "cpu" and bool((types < 0).any()):
        strangers = sorted({int(z) for z in atomic_numbers[types < 0]})
        raise InputError(
            f"this model does not know {', '.join(map(symbol, strangers))}; "
            f"it was trained on {', '.join(map(symbol, elements))}"
        )
    return types


def kinds_of(types: Tensor, n_types: int) -> Kinds:
    """Atoms of the same element, whose features are the same before any message.

    Args:
        types: (n_atoms,) int64, index of each atom's element.
        n_types: number of elements.
    """
    atoms = torch.arange(types.shape[0], device=types.device)
    atom = atoms.new_zeros(n_types + 1).scatter_reduce(0, types, atoms, "amax")
    of_atom = types.clone()
    of_atom[:1] = n_types  # itself: tracing for compilation takes a single kind for a constant
    return Kinds(of_atom, atom)


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Make layers in this dtype inside the `with` block."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _make_router(
    options: ModelOptions,
    choices: Mapping[str, SubnetChoice],
    classes: ElementClasses,
    mean_neighbors: float,
) -> Router:
    scheme = make_scheme(options.relations, classes)
    kinds = [choice.interaction for choice in choices.values()]
    needed = max(kind.default_lmax for kind in kinds)
    least = max(kind.max_degree or 0 for kind in kinds)
    lmax = needed if options.lmax is None else options.lmax
    if lmax < least:
        raise InputError(f"model.lmax: {lmax} is too small for the sub-network; at least {least}")
    shape = Shape(
        n_channels=options.n_channels,
        lmax=lmax,
        n_radial=options.n_radial,
        n_relations=scheme.n_relations,
        n_sides=scheme.n_sides,
        sharing=replace(Sharing.parse(options.sharing), rank=options.low_rank),
        mean_neighbors=mean_neighbors,
        heterogeneity=options.heterogeneity,
    )
    geometry = Geometry(
        make_radial_basis(options.radial, options.n_radial, options.cutoff),
        make_envelope(options.envelope, options.cutoff),
        lmax if any(kind.uses_harmonics for kind in kinds) else None,
    )
    return Router(scheme, assign_relations(scheme, choices), options.n_layers, shape, geometry)
