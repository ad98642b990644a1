"""Scheme `none` is the published network: SchNetPack's numbers with SchNetPack's weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import structures
from hermnet.checks import assert_near, evaluate
from hermnet.graph import collate
from hermnet.model_options import ModelOptions
from hermnet.neighbors import graph_from_atoms
from hermnet.potential import Potential
from hermnet.relational import RelationalLinear

spk = pytest.importorskip("schnetpack")
pytest.importorskip("schnetpack.representation")
pytest.importorskip("schnetpack.atomistic")

ELEMENTS = (1, 6, 8)
CUTOFF, N_RADIAL, N_CHANNELS, N_LAYERS = 5.0, 21, 16, 3
RTOL = 1e-6


def options(subnet: dict[str, Any], radial: str) -> ModelOptions:
    return ModelOptions(
        subnet=subnet,
        relations="none",
        n_channels=N_CHANNELS,
        n_layers=N_LAYERS,
        cutoff=CUTOFF,
        radial=radial,
        n_radial=N_RADIAL,
        envelope="cosine",
        dtype="float64",
    )


def peer(network: type, radial: str) -> torch.nn.ModuleDict:
    """SchNetPack's representation and readout in float64, with noise on every weight."""
    if radial == "gaussian":
        basis = spk.nn.GaussianRBF(N_RADIAL, CUTOFF)  # steps of 0.25 A, exact in float32
    else:
        basis = spk.nn.BesselRBF(N_RADIAL, CUTOFF)
        basis.freqs = torch.arange(1, N_RADIAL + 1).double() * (torch.pi / CUTOFF)
    representation = network(N_CHANNELS, N_LAYERS, basis, spk.nn.CosineCutoff(CUTOFF))
    atomwise = spk.atomistic.Atomwise(n_in=N_CHANNELS, output_key="energy")
    model = torch.nn.ModuleDict({"representation": representation, "readout": atomwise}).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def peer_energy_and_forces(model: torch.nn.ModuleDict, frames: list[Any]) -> tuple[Tensor, Tensor]:
    graph = collate([graph_from_atoms(atoms, CUTOFF) for atoms in frames])
    positions = graph.positions.clone().requires_grad_()
    inputs = {
        spk.properties.Z: graph.atomic_numbers,
        spk.properties.Rij: positions[graph.neighbors] - positions[graph.centers],
        spk.properties.idx_i: graph.centers,
        spk.properties.idx_j: graph.neighbors,
        spk.properties.idx_m: graph.batch,
        spk.properties.n_atoms: graph.atoms_per_system(),
    }
    energy = model["readout"](model["representation"](inputs))["energy"]
    return energy.detach(), -torch.autograd.grad(energy.sum(), positions)[0]


def copy_dense(layer: RelationalLinear, weight: Tensor, bias: Tensor | None) -> None:
    """Give a relational layer of one relation the weights of a linear layer."""
    rows = [weight.T] if bias is None else [weight.T, bias.unsqueeze(0)]
    layer.stack.load_state_dict({"weight": torch.cat(rows).unsqueeze(0)})


def copy_ends(potential: Potential, model: torch.nn.ModuleDict) -> None:
    """Embedding and readout."""
    weight = model["representation"].embedding.weight.detach()[list(ELEMENTS)]
    potential.embedding.load_state_dict({"weight": weight})
    potential.readout.hidden.load_state_dict(model["readout"].outnet[0].state_dict())
    potential.readout.out.load_state_dict(model["readout"].outnet[1].state_dict())


def copy_painn(potential: Potential, model: torch.nn.ModuleDict) -> None:
    theirs = model["representation"]
    filters = theirs.filter_net
    for k, layer in enumerate(potential.router.layers):
        ours = layer[0]
        message, mixing = theirs.interactions[k], theirs.mixing[k]
        rows = slice(3 * N_CHANNELS * k, 3 * N_CHANNELS * (k + 1))
        # the bias of a filter is the weight of the bare envelope
        whole = torch.cat((filters.weight[rows], filters.bias[rows].unsqueeze(1)), dim=1)
        copy_dense(ours.filter, whole, None)
        copy_dense(ours.mix, mixing.mu_channel_mix.weight, None)
        for ours_, dense in zip(
            (ours.source_in, ours.source_out, ours.update_in, ours.update_out),
            (*message.interatomic_context_net, *mixing.intraatomic_context_net),
            strict=True,
        ):
            copy_dense(ours_, dense.weight, dense.bias)


def copy_schnet(potential: Potential, model: torch.nn.ModuleDict) -> None:
    for layer, theirs in zip(
        potential.router.layers, model["representation"].interactions, strict=True
    ):
        ours = layer[0]
        pairs = {
            ours.source: theirs.in2f,
            ours.filter_in: theirs.filter_network[0],
            ours.filter_out: theirs.filter_network[1],
            ours.update_in: theirs.f2out[0],
            ours.update_out: theirs.f2out[1],
        }
        for linear, dense in pairs.items():
            copy_dense(linear, dense.weight, dense.bias)


def assert_same_numbers(potential: Potential, model: torch.nn.ModuleDict) -> None:
    frames = [structures.molecule(seed, stdev=0.1) for seed in range(3)]
    energy, forces = peer_energy_and_forces(model, frames)
    assert energy.std() > 1e-4
    assert forces.abs().max() > 1e-2
    found = evaluate(potential, collate([graph_from_atoms(atoms, CUTOFF) for atoms in frames]))
    torch.testing.assert_close(found.energy, energy, rtol=RTOL, atol=0.0)
    assert_near(found.forces, forces, RTOL)


@pytest.mark.parametrize("radial", ["gaussian", "sine"])
@pytest.mark.parametrize("name", ["painn", "schnet"])
def test_same_energies_and_forces(name: str, radial: str):
    networks = {"painn": spk.representation.PaiNN, "schnet": spk.representation.SchNet}
    model = peer(networks[name], radial)
    subnet: dict[str, Any] = {"name": name}
    subnet |= {"epsilon": 1e-8} if name == "painn" else {}  # where theirs is fixed
    potential = Potential(options(subnet, radial), ELEMENTS, 8.0)
    copy_ends(potential, model)
    {"painn": copy_painn, "schnet": copy_schnet}[name](potential, model)
    assert_same_numbers(potential, model)
