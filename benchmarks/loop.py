"""`vertex` in its naive form, for comparison: a Python loop over relations.

For every relation the subgraph of the edges into its atoms is cut out, a PaiNN of its own runs on
it, and the result is written back onto the atoms. The cutting is done once per forward and on the
atoms in use only, so that the loop is not slower than it has to be. With the weights of a router in
one pass the energies are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from hermnet.expansion import Copies, Expansion
from hermnet.potential import Potential
from hermnet.relational import Sharing
from hermnet.router import Router
from hermnet.subnets.painn import PaiNN
from hermnet.subnetwork import Shape


class LoopRouter(nn.Module):
    """Stands in for the `Router` of a ``vertex`` potential with independent weights.

    Args:
        router: one part, a PaiNN for all relations; its weights are copied.
        shape: what that PaiNN was built from, for one relation.
    """

    def __init__(self, router: Router, shape: Shape) -> None:
        super().__init__()
        self.scheme = router.scheme
        self.geometry = router.geometry
        self.lmax = router.lmax
        parts = [cast(nn.ModuleList, layer)[0] for layer in router.layers]
        self.layers = nn.ModuleList(
            nn.ModuleList(_one_relation(part, k, shape) for k in range(self.scheme.n_relations))
            for part in parts
        )

    def expand(self, classes: Tensor, centers: Tensor, neighbors: Tensor) -> list[Expansion]:
        """The subgraph of each relation, as `Router.expand`."""
        relations = range(self.scheme.n_relations)
        return [_cut(classes == k, centers, neighbors) for k in relations]

    def forward(self, x: Tensor, vectors: Tensor, expansions: Sequence[Expansion]) -> Tensor:
        """Update the features by all layers, as `Router.forward`."""
        graphs = [self.geometry(expansion, vectors) for expansion in expansions]
        for layer in self.layers:
            merged = x
            for part, graph in zip(cast(nn.ModuleList, layer), graphs, strict=True):
                merged = merged.index_add(0, graph.expansion.receivers.atom, part(x, graph))
            x = merged
        return x


def loop_over(potential: Potential) -> None:
    """Replace the router of a ``vertex`` PaiNN potential by a loop with the same weights."""
    options = potential.options
    router = potential.router
    shape = Shape(
        n_channels=options.n_channels,
        lmax=router.lmax,
        n_radial=options.n_radial,
        n_relations=1,
        n_sides=1,
        sharing=Sharing.parse("independent"),
        mean_neighbors=potential.mean_neighbors,
    )
    potential.router = LoopRouter(router, shape)  # type: ignore[assignment]


def _one_relation(part: nn.Module, relation: int, shape: Shape) -> PaiNN:
    single = PaiNN(shape)
    state = {name: stack[relation : relation + 1] for name, stack in part.state_dict().items()}
    single.load_state_dict(state)
    return single


def _cut(receives: Tensor, centers: Tensor, neighbors: Tensor) -> Expansion:
    """The edges into the atoms that receive, numbered within their own subgraph."""
    atoms = receives.nonzero().squeeze(1)
    row = torch.zeros_like(receives, dtype=torch.int64).index_put((atoms,), _count(atoms))
    edge = receives[centers].nonzero().squeeze(1)
    neighbor_atoms = neighbors[edge]
    sources, source_row = torch.unique(neighbor_atoms, return_inverse=True)
    center_row = row[centers[edge]]
    return Expansion(
        receivers=Copies(atoms, _end(atoms)),
        sources=Copies(sources, _end(sources)),
        edge=edge,
        centers=center_row,
        neighbors=source_row,
        neighbor_atoms=neighbor_atoms,
        offsets=_end(edge),
        side_rows=_count(atoms).unsqueeze(1),
        side_centers=center_row,
    )


def _count(rows: Tensor) -> Tensor:
    return torch.arange(rows.shape[0], device=rows.device)


def _end(rows: Tensor) -> Tensor:
    return torch.tensor([rows.shape[0]], dtype=torch.int32, device=rows.device)
