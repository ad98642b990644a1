"""Which (atom, relation) pairs there are, and which row each of them has."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from hermnet.expansion import Copies

_TABLE = 8  # entries for each key up to which a table is faster than sorting
_CHEAP = 32_768  # pairs; a GPU transforms so many rows sooner than the host hears a number


def segment_ends(sorted_ids: Tensor, n_ids: int) -> Tensor:
    """(n_ids,) int32, where the rows of each id end among sorted ones."""
    every = torch.arange(n_ids, device=sorted_ids.device)
    return torch.searchsorted(sorted_ids, every, right=True).to(torch.int32)


class Kinds(NamedTuple):
    """Atoms whose features are the same before any message, and one of each kind."""

    of_atom: Tensor  # (n_atoms,) int64, the kind of each atom
    atom: Tensor  # (n_kinds,) int64, an atom of it; any where there is none


def copies_of(key: Tensor, n_relations: int, n_atoms: int) -> tuple[Copies, Tensor]:
    """The distinct ``relation * n_atoms + atom`` keys, and for each key its row."""
    if 0 < n_relations * n_atoms <= _TABLE * key.shape[0]:
        return _by_table(key, n_relations, n_atoms)
    used, row = torch.unique(key, return_inverse=True)
    return Copies(used % n_atoms, segment_ends(used // n_atoms, n_relations)), row


def waits(device: torch.device) -> bool:
    """Whether the host has to wait to hear how many pairs are in use."""
    return device.type != "cpu"


def are_few(n_pairs: int, n_keys: int) -> bool:
    """Whether all pairs are few enough to be listed on an accelerator, in use or not."""
    return 0 < n_pairs <= max(n_keys, _CHEAP)


def _every_pair(n_relations: int, n_atoms: int, device: torch.device) -> Copies:
    ends = torch.arange(1, n_relations + 1, dtype=torch.int32, device=device) * n_atoms
    return Copies(torch.arange(n_atoms, device=device).repeat(n_relations), ends)


def _by_table(key: Tensor, n_relations: int, n_atoms: int) -> tuple[Copies, Tensor]:
    """What `copies_of` gives, without sorting the keys or dividing them."""
    used = torch.zeros(n_relations, n_atoms, dtype=torch.bool, device=key.device)
    used.view(-1)[key] = True
    number = torch.cumsum(used.view(-1), 0)  # one more than the row, where there is one
    ends = number[n_atoms - 1 :: n_atoms].to(torch.int32)
    _, atom = used.nonzero(as_tuple=True)
    return Copies(atom, ends), number.index_select(0, key) - 1


class Senders(NamedTuple):
    """Who sends along each edge, as copies and the edges' rows among them.

    With `lists_all` copies that send nothing may be among them, so that nobody has to count.
    """

    segment: Tensor | None  # (n_edges,) int64, of each edge; None for one of all
    n_segments: int
    atom: Tensor  # (n_edges,) int64, the sending atom
    n_atoms: int
    lists_all: bool = False

    def of_segments(self, segment: Tensor, n_segments: int) -> Senders:
        """The same where an atom has a copy for each segment of its edges."""
        return self._replace(segment=segment, n_segments=n_segments)

    def used(self) -> tuple[Copies, Tensor]:
        """Copies that send."""
        return self._copies(self.atom, self.n_atoms)

    def used_kinds(self, kinds: Kinds) -> tuple[Copies, Tensor]:
        """Copies that send if one atom of each kind sends for all."""
        sender = kinds.of_atom.index_select(0, self.atom)
        copies, row = self._copies(sender, kinds.atom.shape[0])
        return replace(copies, atom=kinds.atom.index_select(0, copies.atom)), row

    def every(self) -> tuple[Copies, Tensor]:
        """One copy for each atom, in one segment."""
        atoms = torch.arange(self.n_atoms, device=self.atom.device)
        return Copies(atoms, segment_ends(torch.zeros_like(atoms), 1)), self.atom

    def _copies(self, sender: Tensor, n_senders: int) -> tuple[Copies, Tensor]:
        key = sender if self.segment is None else self.segment * n_senders + sender
        if self.lists_all:
            return _every_pair(self.n_segments, n_senders, key.device), key
        return copies_of(key, self.n_segments, n_senders)


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
