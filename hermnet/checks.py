"""Checks of a potential against physics and against itself, for tests; all in float64."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from ase import Atoms
from torch import Tensor
from torch.testing import assert_close

from hermnet.elements import symbol
from hermnet.graph import AtomicGraph, collate
from hermnet.model_options import ModelOptions
from hermnet.neighbors import graph_from_atoms, with_neighbors
from hermnet.potential import Potential, Prediction
from hermnet.relational import BasisStack, IndependentStack
from hermnet.relations import Scheme

_AXES = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


def random_potential(
    options: ModelOptions, elements: tuple[int, ...], mean_neighbors: float = 8.0, seed: int = 0
) -> Potential:
    """A potential with no special weight left: noise on every parameter, references, a scale.

    At the start many biases are zero, and a test would not see what they do.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        potential = Potential(options, elements, mean_neighbors)
        with torch.no_grad():
            for parameter in potential.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
    potential.set_reference({z: -0.5 - 0.1 * z for z in elements}, scale=1.7)
    return potential


@dataclass(frozen=True)
class Evaluation:
    """Everything a potential says of a graph, as `hermnet.potential.Prediction`."""

    energy: Tensor  # (n_systems,)
    atomic_energies: Tensor  # (n_atoms,)
    forces: Tensor  # (n_atoms, 3)
    stress: Tensor  # (n_systems, 3, 3), NaN where the cell has no volume


def evaluate(potential: Potential, graph: AtomicGraph) -> Evaluation:
    """Energy, forces and stress of a graph, on the CPU wherever the potential is."""
    found: Prediction = potential(graph.to(device_of(potential)), forces=True, stress=True)
    assert found.forces is not None
    assert found.stress is not None
    values = (found.energy, found.atomic_energies, found.forces, found.stress)
    return Evaluation(*(value.cpu() for value in values))


def energy_of(potential: Potential, graph: AtomicGraph) -> Tensor:
    """Energies (n_systems,) of a graph alone, on the CPU."""
    found: Prediction = potential(graph.to(device_of(potential)), forces=False)
    return found.energy.cpu()


def device_of(potential: Potential) -> torch.device:
    """Where a potential is evaluated."""
    return next(potential.parameters()).device


def predict(potential: Potential, *structures: Atoms) -> Evaluation:
    """The same of structures in one batch, neighbor lists made with the potential's cutoff."""
    graphs = [graph_from_atoms(atoms, potential.cutoff) for atoms in structures]
    return evaluate(potential, collate(graphs))


def weight_gradients(potential: Potential, *structures: Atoms) -> tuple[Tensor, ...]:
    """Gradients of the sum of squared forces in all parameters, zero where there is none."""
    forces = predict(potential, *structures).forces
    return torch.autograd.grad(
        forces.square().sum(), list(potential.parameters()), materialize_grads=True
    )


def approach(distance: float, fragment: str) -> Atoms:
    """A molecule, and a fragment whose first atom is `distance` A from one of its atoms."""
    atoms = Atoms(
        "COHHO", [(-0.3, 0, 0), (-1.4, 0.4, 0), (0, 0.9, 0.3), (-0.4, -0.8, 0.7), (0.6, 0, 0)]
    )
    step = torch.arange(len(fragment)).double() * 0.97
    ahead = [(0.6 + distance + float(s), 0.2 * float(s), 0.1 * float(s)) for s in step]
    atoms.extend(Atoms(fragment, ahead))
    return atoms


def random_rotation(seed: int = 0) -> Tensor:
    """A proper rotation (3, 3) float64, uniform over SO(3); its negative is improper."""
    generator = torch.Generator().manual_seed(seed)
    q, r = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=generator))
    q = q * torch.diagonal(r).sign()
    proper: Tensor = q * torch.linalg.det(q).sign()
    return proper


def assert_equivariant(potential: Potential, graph: AtomicGraph, rtol: float = 1e-9) -> None:
    """Rotated, reflected and translated structures have the same energy, forces and stress turned.

    Args:
        potential: a potential in float64.
        graph: structures with edges; the stress is compared where there is a volume.
        rtol: tolerance relative to the largest component.
    """
    before = evaluate(potential, graph)
    moved = torch.tensor([0.3, -1.7, 2.9], dtype=torch.float64)
    rotation = random_rotation()
    for turn in (rotation, -rotation):
        turned = replace(
            graph, positions=graph.positions @ turn.T + moved, cell=graph.cell @ turn.T
        )
        after = evaluate(potential, turned)
        assert_near(after.atomic_energies, before.atomic_energies, rtol)
        assert_near(after.forces, before.forces @ turn.T, rtol)
        assert_near(after.stress, turn @ before.stress @ turn.T, rtol)


def assert_near(actual: Tensor, expected: Tensor, rtol: float) -> None:
    """Every component within `rtol` times the largest expected one; NaN equals NaN."""
    size = float(expected.detach().nan_to_num().abs().max()) if expected.numel() else 0.0
    assert_close(actual, expected, rtol=0.0, atol=rtol * max(size, 1e-3), equal_nan=True)


def assert_same(actual: Evaluation, expected: Evaluation, rtol: float) -> None:
    """Both agree in everything, as `assert_near`."""
    for field in fields(Evaluation):
        assert_near(getattr(actual, field.name), getattr(expected, field.name), rtol)


def permute_atoms(graph: AtomicGraph, order: Tensor) -> AtomicGraph:
    """The same structures with atom ``order[k]`` at place k, edges in their old order."""
    place = torch.argsort(order)
    return replace(
        graph.without_labels(),
        positions=graph.positions[order],
        atomic_numbers=graph.atomic_numbers[order],
        batch=graph.batch[order],
        centers=place[graph.centers],
        neighbors=place[graph.neighbors],
    )


def permute_edges(graph: AtomicGraph, order: Tensor) -> AtomicGraph:
    """The same structures with edge ``order[k]`` at place k."""
    return replace(
        graph,
        centers=graph.centers[order],
        neighbors=graph.neighbors[order],
        shifts=graph.shifts[order],
    )


def finite_difference_forces(potential: Potential, atoms: Atoms, step: float = 1e-5) -> Tensor:
    """Forces (n_atoms, 3) in eV/A as central differences; neighbor lists are made anew.

    Args:
        potential: a potential in float64.
        atoms: one structure.
        step: displacement in A.
    """
    graph = graph_from_atoms(atoms)
    moves = step * torch.eye(3 * len(atoms), dtype=torch.float64).view(-1, len(atoms), 3)
    shifted = [replace(graph, positions=graph.positions + s * m) for m in moves for s in (1, -1)]
    return -_central_differences(potential, shifted, step).view(-1, 3)


def finite_difference_stress(potential: Potential, atoms: Atoms, step: float = 1e-5) -> Tensor:
    """Stress (3, 3) in eV/A^3 of a periodic structure as central differences in strain."""
    graph = graph_from_atoms(atoms)
    strained = []
    for a, b in _AXES:
        strain = torch.zeros(3, 3, dtype=torch.float64)
        strain[a, b] += 0.5 * step
        strain[b, a] += 0.5 * step
        for sign in (1, -1):
            f = torch.eye(3, dtype=torch.float64) + sign * strain
            strained.append(replace(graph, positions=graph.positions @ f, cell=graph.cell @ f))
    slopes = _central_differences(potential, strained, step) / atoms.get_volume()
    stress = torch.zeros(3, 3, dtype=torch.float64)
    for (a, b), slope in zip(_AXES, slopes, strict=True):
        stress[a, b] = stress[b, a] = slope
    return stress


def _central_differences(
    potential: Potential, graphs: Sequence[AtomicGraph], step: float
) -> Tensor:
    """Slopes from energies of graphs that come in pairs, displaced up and down by `step`."""
    batch = collate([with_neighbors(graph, potential.cutoff) for graph in graphs])
    with torch.no_grad():
        up, down = energy_of(potential, batch).view(-1, 2).unbind(1)
    slopes: Tensor = (up - down) / (2 * step)
    return slopes


def with_elements(potential: Potential, elements: tuple[int, ...]) -> Potential:
    """The same potential with its elements reordered, or with fewer of them.

    The weights of a relation are found by its label, so relational weights have to live in
    `RelationalLinear` layers, and `potential` must have one sub-network for all relations.
    """
    other = Potential(potential.options, elements, potential.mean_neighbors)
    other.to(device_of(potential))
    state = potential.state_dict()
    old, new = potential.router.scheme, other.router.scheme
    relations = [_relations(old).index(key) for key in _relations(new)]
    slots = [_slots(old).index(key) for key in _slots(new)]
    rows = {old.n_relations: relations, old.n_relations * old.n_sides: slots}
    for name, module in potential.named_modules():
        if isinstance(module, IndependentStack) and len(module.weight) > 1:
            state[f"{name}.weight"] = module.weight[rows[len(module.weight)]]
        elif isinstance(module, BasisStack):
            state[f"{name}.mixing"] = module.mixing[rows[len(module.mixing)]]
    types = [potential.elements.index(z) for z in elements]
    for name in ("embedding.weight", "reference.energies"):
        state[name] = state[name][types]
    other.load_state_dict(state)
    return other


def _relations(scheme: Scheme) -> list[tuple[str, ...]]:
    """Relations by names that do not depend on the order of the classes."""
    return [tuple(sorted(label.split("-*-"))) for label in scheme.labels]


def _slots(scheme: Scheme) -> list[tuple[tuple[str, ...], str]]:
    """Sides of relations by such names: a side is the class of its neighbors."""
    found = []
    for label in scheme.labels:
        sides = label.split("-*-") if scheme.n_sides == 2 else [label]
        if len(set(sides)) < len(sides):  # like classes: only the first side has edges
            sides = [sides[0], "unused"]
        found += [(tuple(sorted(label.split("-*-"))), side) for side in sides]
    return found


def rows_that_lack(potential: Potential, atomic_number: int) -> dict[str, Tensor]:
    """For each parameter that belongs to elements or relations, which rows know nothing of one.

    Returns:
        (n_rows,) bool by parameter name, True where a structure without this element leaves the
        gradient at zero.
    """
    scheme = potential.router.scheme
    name = symbol(atomic_number)
    absent = torch.tensor([name in label.split("-") for label in scheme.labels])
    slots = absent.repeat_interleave(scheme.n_sides)
    rows = {len(absent): absent, len(slots): slots}
    found = {"embedding.weight": torch.tensor([z == atomic_number for z in potential.elements])}
    for path, module in potential.named_modules():
        if isinstance(module, IndependentStack) and len(module.weight) > 1:
            found[f"{path}.weight"] = rows[len(module.weight)]
        elif isinstance(module, BasisStack):
            found[f"{path}.mixing"] = rows[len(module.mixing)]
    return found
