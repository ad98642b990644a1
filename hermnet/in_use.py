"""Leaving out relations of which a batch has nothing, so that nothing is computed for them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from hermnet.expansion import Copies, Expansion

_LEAST = 2  # segments, since tracing for compilation takes a single one for a constant


def relations_in_use(union: Expansion) -> Expansion:
    """The same union with segments only for relations that some atom has.

    Rows and their order stay. The host looks at how many relations there are.

    Args:
        union: of at least two relations.
    """
    ends = union.receivers.offsets
    used = ends.diff(prepend=ends.new_zeros(1)) > 0
    if int(used.sum()) < _LEAST:
        used[:_LEAST] = True
    (relation,) = used.nonzero(as_tuple=True)
    sides = torch.arange(union.side_rows.shape[1], device=relation.device)
    slots = (relation.unsqueeze(1) * sides.shape[0] + sides).reshape(-1)
    return replace(
        union,
        receivers=_of(union.receivers, relation),
        sources=_of(union.sources, slots),
        kinds=_of(union.kinds, slots),
        offsets=union.offsets.index_select(0, slots),
        slots=slots,
    )


def _of(copies: Copies, relation: Tensor) -> Copies:
    if copies.offsets.shape[0] == 1:  # sources that know no relations
        return copies
    # what is left out is empty, so that the other segments end where they did
    return replace(copies, offsets=copies.offsets.index_select(0, relation), relation=relation)
