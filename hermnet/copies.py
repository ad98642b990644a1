"""Which (atom, relation) pairs there are, and which row each of them has."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from hermnet.expansion import Copies

_TABLE = 8  # entries for each key up to which a table is faster than sorting


def segment_ends(sorted_ids: Tensor, n_ids: int) -> Tensor:
    """(n_ids,) int32, where the rows of each id end among sorted ones."""
    every = torch.arange(n_ids, device=sorted_ids.device)
    return torch.searchsorted(sorted_ids, every, right=True).to(torch.int32)


def copies_of(key: Tensor, n_relations: int, n_atoms: int) -> tuple[Copies, Tensor]:
    """The distinct ``relation * n_atoms + atom`` keys, and for each key its row."""
    if 0 < n_relations * n_atoms <= _TABLE * key.shape[0]:
        return _by_table(key, n_relations, n_atoms)
    used, row = torch.unique(key, return_inverse=True)
    return Copies(used % n_atoms, segment_ends(used // n_atoms, n_relations)), row


def _by_table(key: Tensor, n_relations: int, n_atoms: int) -> tuple[Copies, Tensor]:
    """What `copies_of` gives, without sorting the keys or dividing them."""
    used = torch.zeros(n_relations, n_atoms, dtype=torch.bool, device=key.device)
    used.view(-1)[key] = True
    number = torch.cumsum(used.view(-1), 0)  # one more than the row, where there is one
    ends = number[n_atoms - 1 :: n_atoms].to(torch.int32)
    _, atom = used.nonzero(as_tuple=True)
    return Copies(atom, ends), number.index_select(0, key) - 1


class Senders(NamedTuple):
    """Who sends along each edge, as copies and the edges' rows among them."""

    first: Tensor  # (n_edges,) int64, the key of the first atom of the edge's segment
    atom: Tensor  # (n_edges,) int64, the sending atom
    n_segments: int
    n_atoms: int

    def used(self, alike: Tensor | None = None) -> tuple[Copies, Tensor]:
        """Copies that send; with (n_atoms,) `alike` another atom sends for each."""
        atom = self.atom if alike is None else alike.index_select(0, self.atom)
        return copies_of(self.first + atom, self.n_segments, self.n_atoms)

    def every(self) -> tuple[Copies, Tensor]:
        """One copy for each atom, in one segment."""
        atoms = torch.arange(self.n_atoms, device=self.atom.device)
        return Copies(atoms, segment_ends(torch.zeros_like(atoms), 1)), self.atom


def senders_along(segment: Tensor | None, atom: Tensor, n_segments: int, n_atoms: int) -> Senders:
    """The senders of edges in (n_edges,) segments; of one segment where that is None."""
    if segment is None:
        return Senders(torch.zeros_like(atom), atom, 1, n_atoms)
    return Senders(segment * n_atoms, atom, n_segments, n_atoms)


def standing_copies(relation: Tensor, n_relations: int, is_whole: bool) -> tuple[Copies, Tensor]:
    """One copy for each atom that has a relation, and for each atom its copy's row.

    Where the union is of all relations every atom has one, and no number has to be looked at.
    """
    atoms = torch.arange(relation.shape[0], device=relation.device)
    if not is_whole:
        atoms = atoms[relation >= 0]
    sorted_relation, order = torch.sort(relation.index_select(0, atoms), stable=True)
    atoms = atoms.index_select(0, order)
    rows = torch.arange(atoms.shape[0], device=relation.device)
    row = torch.zeros_like(relation).index_copy(0, atoms, rows)
    return Copies(atoms, segment_ends(sorted_relation, n_relations)), row
