"""The start of a fine-tuned model: weights of a checkpoint, reference energies of the new data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from hermnet.checkpoints.checkpoint import load_model
from hermnet.data.least_squares import N_NUMBERS, EnergyEquations
from hermnet.datamodule import GraphDataModule
from hermnet.elements import number, symbol
from hermnet.errors import InputError
from hermnet.graph import AtomicGraph, collate
from hermnet.host.processes import from_first
from hermnet.model_options import ModelOptions
from hermnet.models import make_model
from hermnet.network import Network
from hermnet.potential import Potential
from hermnet.training.inheritance import joined_elements, take_weights


@dataclass(frozen=True)
class Start:
    """A model that goes on from a checkpoint.

    Attributes:
        model: the model, with the checkpoint's weights.
        known: the elements that the checkpoint knew.
        has_readout: whether the readout is the checkpoint's too; else it is new.
    """

    model: Network
    known: tuple[int, ...]
    has_readout: bool


def continued(
    options: ModelOptions, elements: tuple[int, ...], units: Mapping[str, str], seed: int
) -> Start:
    """A model with the weights of ``init_from``, for its elements and those given.

    Args:
        options: the recipe's ``model`` section.
        elements: atomic numbers of the training set; weights of new ones are random.
        units: the unit of each target of a model of properties.
        seed: of the random weights.

    Raises:
        InputError: for a checkpoint that cannot be used, or does not fit.
    """
    source = load_model(str(options.init_from))
    pl.seed_everything(seed, verbose=False)
    joined = joined_elements(source.elements, elements)
    model = make_model(options, joined, source.mean_neighbors, units)
    take_weights(model, source)
    if isinstance(model, Potential) and isinstance(source, Potential):
        stored = source.reference.energies.tolist()
        energies = dict(zip(source.elements, stored, strict=True))
        model.set_reference(
            {z: energies.get(z, 0.0) for z in joined}, float(source.reference.scale)
        )
    elif options.reference == "keep":
        raise InputError(f"model.reference: keep: {options.init_from} has no reference energies")
    return Start(model, source.elements, options.readout == source.options.readout)


def fit_reference(potential: Potential, known: tuple[int, ...], data: GraphDataModule) -> list[str]:
    """Correct reference energies by least squares on what the potential leaves of the energies.

    Args:
        potential: a model that `continued` made; its reference energies change.
        known: the elements whose reference energies stay.
        data: its training frames tell the energies.

    Returns:
        What a user should know, one sentence each.
    """
    elements = [z for z in data.facts("train").elements if z not in known]
    if not elements:
        return []
    # all frames, in whichever process: a loader would give each process its share
    rest = from_first(lambda: _rest(potential, data.graphs("train"), data.eval_batch_size))
    if rest.n_frames == 0:
        return ["no frame has an energy: reference energies of new elements are zero"]
    fit = rest.fit(elements)
    energies = dict(zip(potential.elements, potential.reference.energies.tolist(), strict=True))
    for z, change in zip(elements, fit.energies.tolist(), strict=True):
        energies[z] += change
    potential.set_reference(energies, float(potential.reference.scale))
    if not fit.doubtful:
        return []
    names = ", ".join(symbol(elements[k]) for k in fit.doubtful)
    return [f"the compositions do not determine the reference energies of {names} one by one"]


def given_reference(potential: Potential, energies: Mapping[str, float]) -> None:
    """Take reference energies (eV) by symbol; elements that are not named keep theirs."""
    stored = dict(zip(potential.elements, potential.reference.energies.tolist(), strict=True))
    stored.update({number(name): float(energy) for name, energy in energies.items()})
    potential.set_reference(stored, float(potential.reference.scale))


def _rest(potential: Potential, graphs: Sequence[AtomicGraph], batch_size: int) -> EnergyEquations:
    starts = range(0, len(graphs), batch_size)
    batches = (
        collate([graphs[k] for k in range(start, min(start + batch_size, len(graphs)))])
        for start in starts
    )
    return EnergyEquations.joined([_left(potential, batch) for batch in batches])


@torch.no_grad()
def _left(potential: Potential, graph: AtomicGraph) -> EnergyEquations:
    """The energies of a batch without what the potential says, as equations for the elements."""
    predicted = potential(graph, forces=False).energy
    energies = torch.full_like(predicted, np.nan) if graph.energy is None else graph.energy
    counts: Tensor = torch.zeros(graph.n_systems, N_NUMBERS, dtype=torch.float64)
    places = (graph.batch, graph.atomic_numbers)
    counts.index_put_(places, torch.ones(()).double(), accumulate=True)
    return EnergyEquations.of(counts.numpy(), (energies - predicted).numpy())
