"""One pass over the union of relations against a plain loop over relations.

The loop is written out here without `Scheme.expand`: it cuts each relation's subgraph edge by edge,
calls a PaiNN of one relation with that relation's weights, and averages the results on the atoms.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import structures
from hermnet.checks import random_potential
from hermnet.classes import element_classes
from hermnet.derivatives import edge_vectors
from hermnet.errors import InputError
from hermnet.expansion import Copies, Expansion
from hermnet.graph import AtomicGraph, collate
from hermnet.model_options import ModelOptions
from hermnet.neighbors import graph_from_atoms
from hermnet.relational import RelationalLinear, Sharing
from hermnet.relations import make_scheme
from hermnet.router import Router, assign_relations
from hermnet.subnets.painn import PaiNN
from hermnet.subnetwork import Shape, SubnetChoice, parse_subnets

ELEMENTS = (8, 1, 6, 22, 56)
NAMES = ("O", "H", "C", "Ti", "Ba")
CUTOFF = 2.8
SCHEMES = ("none", "vertex", "pair", "triadic")


def options(relations: str, sharing: str, heterogeneity: str = "full") -> ModelOptions:
    return ModelOptions(
        subnet="painn",
        relations=relations,
        sharing=sharing,
        heterogeneity=heterogeneity,
        n_channels=4,
        n_layers=2,
        n_radial=5,
        cutoff=CUTOFF,
        dtype="float64",
    )


def example() -> tuple[AtomicGraph, Tensor, Tensor]:
    """A molecule, a crystal and a lone atom; scalars; edge vectors that want a gradient."""
    frames = [structures.molecule(), structures.crystal(), structures.molecule()[[2]]]
    graph = collate([graph_from_atoms(frame, CUTOFF) for frame in frames])
    x = torch.randn(graph.n_atoms, 4, dtype=torch.float64, requires_grad=True)
    return graph, x, edge_vectors(graph).requires_grad_()


def run(router: Router, graph: AtomicGraph, x: Tensor, vectors: Tensor) -> Tensor:
    types = torch.tensor([ELEMENTS.index(z) for z in graph.atomic_numbers.tolist()])
    return router(x, vectors, router.expand(types, graph.centers, graph.neighbors))


class Loop:
    """The router's layers, one relation after the other."""

    def __init__(self, router: Router, relations: str, graph: AtomicGraph) -> None:
        self.router = router
        self.labels = router.scheme.labels
        self.n_sides = 2 if relations == "triadic" else 1
        self.centers, self.neighbors = graph.centers.tolist(), graph.neighbors.tolist()
        self.symbols = [NAMES[ELEMENTS.index(z)] for z in graph.atomic_numbers.tolist()]
        self.relations = relations
        self.sides = {label: self.cut(label) for label in self.labels}

    def cut(self, label: str) -> list[list[int]]:
        """The edges of each side of a relation."""
        s = self.symbols
        ends = list(enumerate(zip(self.centers, self.neighbors, strict=True)))
        if self.relations == "none":
            return [[edge for edge, _ in ends]]
        if self.relations == "vertex":
            return [[edge for edge, (i, _) in ends if s[i] == label]]
        if self.relations == "pair":
            return [[edge for edge, (i, j) in ends if f"{s[j]}-{s[i]}" == label]]
        a, b = label.split("-*-")
        sees = [{s[j] for _, (i, j) in ends if i == atom} for atom in range(len(s))]
        whole = [(edge, s[j]) for edge, (i, j) in ends if {a, b} <= sees[i]]
        first = [edge for edge, kind in whole if kind == a]
        second = [edge for edge, kind in whole if kind == b]
        return [first, [] if a == b else second]

    def receivers(self, label: str) -> list[int]:
        """The atoms with a copy in a relation."""
        if self.relations == "none":
            return list(range(len(self.symbols)))
        if self.relations == "vertex":
            return [atom for atom, symbol in enumerate(self.symbols) if symbol == label]
        return sorted({self.centers[edge] for side in self.sides[label] for edge in side})

    def weights(self, vectors: Tensor) -> dict[tuple[int, str], Tensor]:
        """What each copy counts on its atom: 1, or its gate over one plus the sum of the gates."""
        copies = [(atom, label) for label in self.labels for atom in self.receivers(label)]
        if self.relations in ("none", "vertex"):
            return {copy: torch.tensor(1.0, dtype=torch.float64) for copy in copies}
        gates = {}
        for atom, label in copies:
            first, *rest = self.sides[label]
            kinds = [first, *(second or first for second in rest)]  # like classes: both the first
            gates[atom, label] = torch.stack([self.fade(atom, k, vectors) for k in kinds]).prod()
        total = dict.fromkeys(range(len(self.symbols)), 1.0)
        for (atom, _), gate in gates.items():
            total[atom] = total[atom] + gate
        return {copy: gate / total[copy[0]] for copy, gate in gates.items()}

    def fade(self, atom: int, edges: list[int], vectors: Tensor) -> Tensor:
        lengths = [vectors[edge].norm() for edge in edges if self.centers[edge] == atom]
        return sum(0.5 * (1 + torch.cos(math.pi * r / CUTOFF)) for r in lengths).tanh()

    def expansion(self, label: str) -> Expansion:
        """The indices of one relation alone."""
        sides, atoms = self.sides[label], self.receivers(label)
        edges = [edge for side in sides for edge in side]
        sources = [sorted({self.neighbors[edge] for edge in side}) for side in sides]
        starts = [0, len(sources[0])]
        place = [
            starts[k] + sources[k].index(self.neighbors[edge])
            for k, side in enumerate(sides)
            for edge in side
        ]
        centers = torch.tensor([atoms.index(self.centers[edge]) for edge in edges]).long()
        side_of_edge = torch.tensor([k for k, side in enumerate(sides) for _ in side]).long()
        alike = self.n_sides == 2 and len(set(label.split("-*-"))) == 1
        columns = [0, 0 if alike else 1][: self.n_sides]
        senders = Copies(
            torch.tensor([j for one in sources for j in one]).long(),
            ends([len(one) for one in sources]),
        )
        return Expansion(
            receivers=Copies(torch.tensor(atoms), ends([len(atoms)])),
            sources=senders,
            kinds=senders,
            edge=torch.tensor(edges).long(),
            centers=centers,
            neighbors=torch.tensor(place).long(),
            neighbor_kinds=torch.tensor(place).long(),
            neighbor_atoms=torch.tensor([self.neighbors[edge] for edge in edges]).long(),
            offsets=ends([len(side) for side in sides]),
            side_rows=torch.tensor(
                [[self.n_sides * k + c for c in columns] for k in range(len(atoms))]
            ),
            side_centers=centers * self.n_sides + side_of_edge,
        )

    def serving(self, layer: torch.nn.ModuleList, label: str) -> PaiNN:
        """A PaiNN of one relation with the weights that this relation has in a layer."""
        relation = self.labels.index(label)
        part = next(k for k, served in enumerate(self.router.served) if relation in served)
        row = self.router.served[part].index(relation)
        one = PaiNN(Shape(4, 1, 5, 1, self.n_sides, Sharing("independent"), 8.0)).double()
        whole = dict(layer[part].named_modules())
        for name, linear in one.named_modules():
            if isinstance(linear, RelationalLinear):
                stack = whole[name].stack()
                n = len(linear.stack.weight)  # sides, or one for the receivers
                rows = stack[row * n : (row + 1) * n] if len(stack) > 1 else stack.expand(n, -1, -1)
                del linear.stack.weight
                linear.stack.weight = rows
        return one

    def __call__(self, scalars: Tensor, vectors: Tensor) -> Tensor:
        weights = self.weights(vectors)
        x = torch.stack((scalars, *[torch.zeros_like(scalars)] * 3), dim=1)
        for layer in self.router.layers:
            change = torch.zeros_like(x)
            for label in self.labels:
                atoms = self.receivers(label)
                if not atoms:
                    continue
                relation = self.router.geometry(self.expansion(label), vectors)
                delta = self.serving(layer, label)(x, relation)
                for row, atom in enumerate(atoms):
                    change = change.index_add(
                        0, torch.tensor([atom]), weights[atom, label] * delta[row : row + 1]
                    )
            x = x + change
        return x


def ends(counts: list[int]) -> Tensor:
    return torch.tensor(counts).cumsum(0).to(torch.int32)


def assert_equal_to_loop(router: Router, relations: str) -> None:
    graph, x, vectors = example()
    over = [x, vectors, *router.parameters()]
    one_pass, loop = run(router, graph, x, vectors), Loop(router, relations, graph)(x, vectors)
    torch.testing.assert_close(one_pass, loop, rtol=1e-10, atol=1e-10)
    target = torch.randn_like(one_pass)
    ours = torch.autograd.grad((one_pass * target).sum(), over)
    theirs = torch.autograd.grad((loop * target).sum(), over, materialize_grads=True)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("sharing", ["independent", "basis:2", "shared"])
@pytest.mark.parametrize("relations", SCHEMES)
def test_one_pass_equals_a_loop_over_relations(relations: str, sharing: str):
    potential = random_potential(options(relations, sharing), ELEMENTS)
    assert_equal_to_loop(potential.router, relations)


@pytest.mark.parametrize("heterogeneity", ["filters", "update"])
@pytest.mark.parametrize("relations", SCHEMES[1:])
def test_layers_that_know_no_relations_are_one_for_all(relations: str, heterogeneity: str):
    potential = random_potential(options(relations, "independent", heterogeneity), ELEMENTS)
    graph, *_ = example()
    types = torch.tensor([ELEMENTS.index(z) for z in graph.atomic_numbers.tolist()])
    (expansion,) = potential.router.expand(types, graph.centers, graph.neighbors)
    assert len(expansion.sources.atom) == graph.n_atoms  # no copies for each relation
    assert_equal_to_loop(potential.router, relations)
    knowing = {
        name
        for name, layer in potential.router.parts(0)[0].named_children()
        if len(layer.stack()) > 1
    }
    expected = {"filters": {"filter"}, "update": {"mix", "update_in", "update_out"}}
    assert knowing == expected[heterogeneity]


@pytest.mark.parametrize("relations", ["vertex", "pair", "triadic"])
@pytest.mark.parametrize("heterogeneity", ["full", "update"])
def test_several_parts_share_the_relations(relations: str, heterogeneity: str):
    potential = random_potential(options(relations, "independent"), ELEMENTS)
    whole = potential.router
    n_relations = whole.scheme.n_relations
    choice = SubnetChoice(PaiNN, {})
    mine = tuple(k for k in range(n_relations) if k % 3 == 1)
    rest = tuple(k for k in range(n_relations) if k % 3 != 1)
    sharing = Sharing("independent")
    shape = Shape(4, 1, 5, n_relations, whole.scheme.n_sides, sharing, 8.0, heterogeneity)
    router = Router(
        whole.scheme, [(choice, rest), (choice, mine)], 2, shape, whole.geometry
    ).double()
    with torch.no_grad():
        for parameter in router.layers.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    assert_equal_to_loop(router, relations)


def test_relations_without_gates_change_lone_atoms():
    for relations, changes in zip(SCHEMES, (True, True, False, False), strict=True):
        potential = random_potential(options(relations, "independent"), ELEMENTS)
        graph, x, vectors = example()
        change = run(potential.router, graph, x, vectors)[-1, 0] - x[-1]
        assert bool((change != 0).any()) == changes, relations


def scheme(name: str):
    return make_scheme(name, element_classes("element", (8, 1)))


def test_a_single_sub_network_serves_every_relation():
    parts = assign_relations(scheme("pair"), parse_subnets("painn"))
    assert [(part.interaction, relations) for part, relations in parts] == [(PaiNN, (0, 1, 2, 3))]


def test_named_relations_get_their_own_sub_network():
    default, other = SubnetChoice(PaiNN, {}), SubnetChoice(PaiNN, {"wide": True})
    choices = {"default": default, "H-O": other, "O-O": other}
    assert assign_relations(scheme("pair"), choices) == [(other, (0, 2)), (default, (1, 3))]


def test_a_relation_that_is_none_is_refused():
    choice = SubnetChoice(PaiNN, {})
    with pytest.raises(InputError, match=r"model.subnet: 'O-C' is no relation; did you mean 'O-"):
        assign_relations(scheme("pair"), {"default": choice, "O-C": choice})


def test_a_relation_that_nothing_serves_is_refused():
    with pytest.raises(InputError, match=r"model.subnet: nothing serves the relation 'H'; add it"):
        assign_relations(scheme("vertex"), {"O": SubnetChoice(PaiNN, {})})


def test_an_option_that_a_sub_network_does_not_have_is_refused():
    spec = {"name": "painn", "epsilom": 0.01}
    message = r"model.subnet: PaiNN has no option 'epsilom'; did you mean 'epsilon'\?"
    with pytest.raises(InputError, match=message):
        random_potential(ModelOptions(subnet=spec), ELEMENTS)
