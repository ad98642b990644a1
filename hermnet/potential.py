"""The potential: energy, atomic energies, forces and stress of an `AtomicGraph`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from hermnet.derivatives import (
    atomic_stresses_from_edges,
    edge_vectors,
    forces_from_edges,
    stress_from_edges,
)
from hermnet.graph import AtomicGraph
from hermnet.model_options import ModelOptions
from hermnet.network import Indices, Network, default_dtype
from hermnet.readouts.readout import EnergyReadout
from hermnet.reference import Reference
from hermnet.repulsion import ZBL
from hermnet.segments import segment_sum


@dataclass(frozen=True)
class Prediction:
    """What a potential says of a graph, in the graph's order."""

    energy: Tensor  # (n_systems,) float64, eV
    atomic_energies: Tensor  # (n_atoms,) float64, eV
    forces: Tensor | None = None  # (n_atoms, 3) eV/A, model dtype
    stress: Tensor | None = None  # (n_systems, 3, 3) eV/A^3, NaN where the cell has no volume
    atomic_stresses: Tensor | None = None  # (n_atoms, 3, 3) eV/A^3, which sum up to the stress


Evaluator = Callable[["Potential", Tensor, Indices, bool], tuple[Tensor, Tensor]]


def evaluate_eagerly(
    potential: Potential, vectors: Tensor, indices: Indices, create_graph: bool
) -> tuple[Tensor, Tensor]:
    """Learned energies of atoms (n_atoms,) and ``dE/dd`` (n_edges, 3) for edge vectors d.

    Args:
        potential: the potential.
        vectors: (n_edges, 3) in A, model dtype.
        indices: the graph's indices.
        create_graph: whether the results can be differentiated again, as training does.
    """
    with torch.enable_grad():
        if not vectors.requires_grad:
            vectors = vectors.detach().requires_grad_()
        energies = potential.learned_energies(vectors, indices)
        (gradient,) = torch.autograd.grad(
            energies.sum(), vectors, create_graph=create_graph, materialize_grads=True
        )
    return (energies if create_graph else energies.detach()), gradient


class Wanted(NamedTuple):
    """What to sum the gradient by the edge vectors to."""

    forces: bool = True
    stress: bool = False
    atomic_stresses: bool = False


def prediction_from(
    energies: Tensor, gradient: Tensor, vectors: Tensor, graph: AtomicGraph, wanted: Wanted
) -> Prediction:
    """Everything that follows from what an `Evaluator` gives.

    Args:
        energies: (n_atoms,) eV.
        gradient: (n_edges, 3) ``dE/dd`` in eV/A.
        vectors: (n_edges, 3) edge vectors d in A.
        graph: the structures.
        wanted: what to return beside energies.
    """
    by_atom = wanted.atomic_stresses
    return Prediction(
        energy=segment_sum(energies, graph.batch, graph.n_systems),
        atomic_energies=energies,
        forces=forces_from_edges(gradient, graph) if wanted.forces else None,
        stress=stress_from_edges(gradient, vectors, graph) if wanted.stress else None,
        atomic_stresses=atomic_stresses_from_edges(gradient, vectors, graph) if by_atom else None,
    )


@final
class Potential(Network):
    """A learned potential for a set of elements; arguments and errors are those of `Network`."""

    def __init__(
        self, options: ModelOptions, elements: tuple[int, ...], mean_neighbors: float
    ) -> None:
        super().__init__(options, elements, mean_neighbors)
        self.evaluate: Evaluator = evaluate_eagerly
        with default_dtype(self.dtype):
            self.readout = EnergyReadout(options.n_channels)
        self.reference = Reference(self.elements)
        self.repulsion = ZBL(self.elements, options.cutoff) if options.zbl else None

    @property
    def head(self) -> nn.Module:
        """See `Network.head`."""
        return self.readout

    @property
    def units(self) -> dict[str, str]:
        """Nothing: energies are in eV, lengths in A."""
        return {}

    def set_reference(self, energies: Mapping[int, float], scale: float) -> None:
        """Store reference energies (eV, by atomic number) and the scale (eV)."""
        self.reference.set(energies, scale)

    def forward(
        self,
        graph: AtomicGraph,
        forces: bool = True,
        stress: bool = False,
        atomic_stresses: bool = False,
    ) -> Prediction:
        """Predict; forces and stress can be differentiated again where gradients are enabled.

        Args:
            graph: structures with a neighbor list of at least this potential's cutoff.
            forces: whether to return forces.
            stress: whether to return the stress.
            atomic_stresses: whether to return each atom's share of it.

        Raises:
            InputError: for an element that the potential does not know.
        """
        indices = self.lean_indices(graph)
        exact = edge_vectors(graph)  # float64 until here: differences of large positions
        vectors = exact.to(self.dtype)
        if not (forces or stress or atomic_stresses):
            energies = self.atomic_energies(vectors, indices)
            return Prediction(segment_sum(energies, graph.batch, graph.n_systems), energies)
        energies, gradient = self.evaluate(self, vectors, indices, torch.is_grad_enabled())
        if self.repulsion is not None:
            ends = indices.centers, indices.neighbors
            added, slope = self.repulsion.with_gradient(vectors, indices.types, *ends)
            energies, gradient = energies + added, gradient + slope
        wanted = Wanted(forces, stress, atomic_stresses)
        return prediction_from(energies, gradient, vectors, graph, wanted)

    def atomic_energies(self, vectors: Tensor, indices: Indices) -> Tensor:
        """Per-atom energies (n_atoms,) float64 in eV as a function of the edge vectors in A."""
        energies = self.learned_energies(vectors, indices)
        if self.repulsion is None:
            return energies
        lengths = torch.linalg.vector_norm(vectors, dim=1)
        ends = indices.centers, indices.neighbors
        added: Tensor = self.repulsion(lengths, indices.types, *ends)
        return energies + added

    def learned_energies(self, vectors: Tensor, indices: Indices) -> Tensor:
        """`atomic_energies` without the repulsion of nuclei, in which there is nothing to learn."""
        x = self.features(vectors, indices)
        energies: Tensor = self.reference(self.readout(x), indices.types)
        return energies
