"""The potential: energy, atomic energies, forces and stress of an `AtomicGraph`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hermnet.classes import ElementClasses, element_classes
from hermnet.data.facts import Facts
from hermnet.derivatives import edge_vectors, forces_from_edges, stress_from_edges
from hermnet.elements import symbol
from hermnet.envelopes import make_envelope
from hermnet.errors import InputError, InputErrors, nearest
from hermnet.geometry import Geometry
from hermnet.graph import AtomicGraph
from hermnet.radial import make_radial_basis
from hermnet.readout import EnergyReadout
from hermnet.reference import Reference
from hermnet.relational import Sharing
from hermnet.relations import Expansion, make_scheme
from hermnet.repulsion import ZBL
from hermnet.router import Router, assign_relations
from hermnet.segments import segment_sum
from hermnet.subnetwork import Shape, SubnetChoice, parse_subnets

_N_NUMBERS = 119  # atomic numbers 0 to 118
_DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class ModelOptions:
    """A recipe's ``model`` section.

    Attributes:
        subnet: the sub-network's name; or a mapping with ``name`` and its options; or a mapping
            from relation to one of these, with ``default`` for the rest.
        relations: the relation scheme: none, vertex, pair or triadic.
        sharing: how relations share weights: independent, basis:B or shared.
        classes: what relations are made of: element, group, period, block, or a mapping from class
            to elements.
        n_channels: channels of the features.
        n_layers: number of interaction layers.
        lmax: highest degree of the features; by default what the sub-networks need.
        cutoff: distance in A beyond which atoms do not see each other.
        radial: the radial basis: bessel, sine, gaussian or bernstein.
        n_radial: number of radial functions.
        envelope: how edges fade at the cutoff: cosine or polynomial.
        reference: reference energies: ``fit`` (least squares on the training set), or a mapping
            from element to the energy of its isolated atom in eV.
        zbl: whether to add the ZBL repulsion of bare nuclei at short distances.
        dtype: float32 or float64.
    """

    subnet: str | dict[str, Any] = "painn"
    relations: str = "vertex"
    sharing: str = "independent"
    classes: str | dict[str, list[str]] = "element"
    n_channels: int = 64
    n_layers: int = 3
    lmax: int | None = None
    cutoff: float = 5.0
    radial: str = "bessel"
    n_radial: int = 20
    envelope: str = "cosine"
    reference: str | dict[str, float] = "fit"
    zbl: bool = False
    dtype: str = "float32"

    def __post_init__(self) -> None:
        least = {"n_channels": 1, "n_layers": 0, "n_radial": 1, "lmax": 0}
        problems = [
            f"{name}: {getattr(self, name)} is too small; at least {bound}"
            for name, bound in least.items()
            if getattr(self, name) is not None and getattr(self, name) < bound
        ]
        if not self.cutoff > 0:
            problems.append(f"cutoff: {self.cutoff} A is not a positive distance")
        if self.dtype not in _DTYPES:
            problems.append(f"dtype: unknown '{self.dtype}'; {nearest(self.dtype, _DTYPES)}")
        if isinstance(self.reference, str) and self.reference != "fit":
            problems.append(
                f"reference: '{self.reference}' is neither 'fit' nor a mapping from element to eV"
            )
        if problems:
            raise InputErrors(f"model.{problem}" for problem in problems)


@dataclass(frozen=True)
class Prediction:
    """What a potential says of a graph, in the graph's order."""

    energy: Tensor  # (n_systems,) float64, eV
    atomic_energies: Tensor  # (n_atoms,) float64, eV
    forces: Tensor | None = None  # (n_atoms, 3) eV/A, model dtype
    stress: Tensor | None = None  # (n_systems, 3, 3) eV/A^3, NaN where the cell has no volume


@dataclass(frozen=True)
class Indices:
    """Everything of a graph that the energy needs besides the edge vectors."""

    types: Tensor  # (n_atoms,) int64
    centers: Tensor  # (n_edges,) int64
    neighbors: Tensor  # (n_edges,) int64
    expansions: list[Expansion]


torch.export.register_dataclass(Indices)

Evaluator = Callable[["Potential", Tensor, Indices, bool], tuple[Tensor, Tensor]]


def evaluate_eagerly(
    potential: Potential, vectors: Tensor, indices: Indices, create_graph: bool
) -> tuple[Tensor, Tensor]:
    """Atomic energies (n_atoms,) and ``dE/dd`` (n_edges, 3) for edge vectors d.

    Args:
        potential: the potential.
        vectors: (n_edges, 3) in A, model dtype.
        indices: the graph's indices.
        create_graph: whether the results can be differentiated again, as training does.
    """
    with torch.enable_grad():
        if not vectors.requires_grad:
            vectors = vectors.detach().requires_grad_()
        energies = potential.atomic_energies(vectors, indices)
        (gradient,) = torch.autograd.grad(
            energies.sum(), vectors, create_graph=create_graph, materialize_grads=True
        )
    return (energies if create_graph else energies.detach()), gradient


class Potential(nn.Module):
    """A learned potential for a set of elements.

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
        self.dtype = _DTYPES[options.dtype]
        self.evaluate: Evaluator = evaluate_eagerly
        classes = element_classes(options.classes, self.elements)
        types = torch.full((_N_NUMBERS,), -1)
        types[list(self.elements)] = torch.arange(len(self.elements))
        self.register_buffer("type_of_number", types, persistent=False)
        self.register_buffer("class_of_type", torch.tensor(classes.of_type), persistent=False)
        self.type_of_number: Tensor
        self.class_of_type: Tensor
        before = torch.get_default_dtype()
        torch.set_default_dtype(self.dtype)
        try:
            self.router = _make_router(
                options, parse_subnets(options.subnet), classes, mean_neighbors
            )
            self.embedding = nn.Embedding(len(self.elements), options.n_channels)
            self.readout = EnergyReadout(options.n_channels)
        finally:
            torch.set_default_dtype(before)
        self.reference = Reference(self.elements)
        self.repulsion = ZBL(self.elements, options.cutoff) if options.zbl else None

    @property
    def relation_labels(self) -> tuple[str, ...]:
        """The names of the relations, in the order of their index."""
        return self.router.scheme.labels

    def set_reference(self, energies: Mapping[int, float], scale: float) -> None:
        """Store reference energies (eV, by atomic number) and the scale (eV)."""
        self.reference.set(energies, scale)

    def forward(self, graph: AtomicGraph, forces: bool = True, stress: bool = False) -> Prediction:
        """Predict; forces and stress can be differentiated again where gradients are enabled.

        Args:
            graph: structures with a neighbor list of at least this potential's cutoff.
            forces: whether to return forces.
            stress: whether to return the stress.

        Raises:
            InputError: for an element that the potential does not know.
        """
        indices = self.indices(graph)
        exact = edge_vectors(graph)  # float64 until here: differences of large positions
        vectors = exact.to(self.dtype)
        if not (forces or stress):
            energies = self.atomic_energies(vectors, indices)
            return Prediction(segment_sum(energies, graph.batch, graph.n_systems), energies)
        energies, gradient = self.evaluate(self, vectors, indices, torch.is_grad_enabled())
        return Prediction(
            energy=segment_sum(energies, graph.batch, graph.n_systems),
            atomic_energies=energies,
            forces=forces_from_edges(gradient, graph) if forces else None,
            stress=stress_from_edges(gradient, vectors, graph) if stress else None,
        )

    def indices(self, graph: AtomicGraph) -> Indices:
        """Types and relations of a graph; no gradient."""
        types = self.types(graph.atomic_numbers)
        classes = self.class_of_type.index_select(0, types)
        expansions = self.router.expand(classes, graph.centers, graph.neighbors)
        return Indices(types, graph.centers, graph.neighbors, expansions)

    def types(self, atomic_numbers: Tensor) -> Tensor:
        """Index of each atom's element, (n_atoms,); an unknown element raises `InputError`."""
        types = self.type_of_number.index_select(0, atomic_numbers)
        # On an accelerator the look would wait for the device; data modules have checked already.
        if types.device.type == "cpu" and bool((types < 0).any()):
            strangers = sorted({int(z) for z in atomic_numbers[types < 0]})
            raise InputError(
                f"this potential does not know {', '.join(map(symbol, strangers))}; "
                f"it was trained on {', '.join(map(symbol, self.elements))}"
            )
        return types

    def count_edges(self, facts: Facts) -> dict[str, int]:
        """Number of edges of each relation in a set of graphs, by the relation's label."""
        scheme, stars = self.router.scheme, facts.environments.stars()
        classes = self.class_of_type.index_select(0, self.types(stars.atomic_numbers))
        links = scheme.links(classes, stars.centers, stars.neighbors)
        totals = torch.zeros(scheme.n_relations, dtype=torch.int64)
        totals.index_add_(0, links.relation, stars.counts[links.edge])
        return dict(zip(scheme.labels, totals.tolist(), strict=True))

    def atomic_energies(self, vectors: Tensor, indices: Indices) -> Tensor:
        """Per-atom energies (n_atoms,) float64 in eV as a function of the edge vectors in A."""
        scalars = self.embedding(indices.types).unsqueeze(1)  # (n_atoms, 1, n_channels)
        rows = (self.router.lmax + 1) ** 2
        x = nn.functional.pad(scalars, (0, 0, 0, rows - 1))  # higher degrees start at zero
        x = self.router(x, vectors, indices.expansions)
        energies: Tensor = self.reference(self.readout(x), indices.types)
        if self.repulsion is None:
            return energies
        lengths = torch.linalg.vector_norm(vectors, dim=1)
        energies = energies + self.repulsion(
            lengths, indices.types, indices.centers, indices.neighbors
        )
        return energies


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
        sharing=Sharing.parse(options.sharing),
        mean_neighbors=mean_neighbors,
    )
    geometry = Geometry(
        make_radial_basis(options.radial, options.n_radial, options.cutoff),
        make_envelope(options.envelope, options.cutoff),
        lmax if any(kind.uses_harmonics for kind in kinds) else None,
    )
    return Router(scheme, assign_relations(scheme, choices), options.n_layers, shape, geometry)
