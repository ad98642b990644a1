"""What an analysis has found, as plain values, and the sentences that follow from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hermnet.analysis.frames import Errors
from hermnet.analysis.served import Relation
from hermnet.analysis.weights import Array, Likeness

_RARE = 100  # training edges
_NOTHING = 0.02  # of the error: a rise that is none
_LITTLE = 0.25


@dataclass(frozen=True)
class RelationFacts:
    """What is known of one relation.

    Attributes:
        relation: the relation.
        training_edges: as the checkpoint says; None where it does not.
        edges: in the frames that were looked at.
        parameters: that belong to it and to no other.
        parameter_share: of all parameters of the model.
        time_share: of the time that relations take; None where it was not looked at.
        n_atoms: that it changes, in the frames.
        served: mean absolute error of the forces on these, meV/A; None without forces.
        off: the errors with the relation switched off; None where it was not looked at.
    """

    relation: Relation
    training_edges: int | None
    edges: int
    parameters: int
    parameter_share: float
    time_share: float | None
    n_atoms: int | None
    served: float | None
    off: Errors | None

    @property
    def label(self) -> str:
        """The relation's name."""
        return self.relation.label


@dataclass(frozen=True)
class Findings:
    """All that an analysis has found.

    Attributes:
        checkpoint: its path.
        scheme: the relation scheme, with the sharing and the layers that know relations.
        classes: names of the classes that relations are made of, and the elements of each.
        split: of the data, with the numbers of frames that were taken and that there are.
        units: of each target.
        main: the target whose error rises are shown.
        errors: of the model as it is.
        relations: every relation of the model.
        examined: indices of those that occur in the frames and were looked at.
        likeness: of their weights, by number of the interaction and name of the layer.
        exchange: (n, n) how much the main error of the atoms that a relation (row) changes rises
            when it has the weights of another (column); None where that was not tried.
        notes: what was left out, and why.
    """

    checkpoint: str
    scheme: str
    classes: dict[str, list[int]]
    split: tuple[str, int, int]
    units: dict[str, str]
    main: str
    errors: Errors
    relations: list[RelationFacts]
    examined: list[int]
    likeness: dict[tuple[int, str], Likeness]
    exchange: Array | None
    notes: list[str]

    @property
    def looked_at(self) -> list[RelationFacts]:
        """The examined relations."""
        return [self.relations[k] for k in self.examined]

    def rise(self, facts: RelationFacts, target: str) -> float | None:
        """How much a target's error rises without a relation."""
        off = facts.off
        return None if off is None else off.targets[target] - self.errors.targets[target]

    def sentences(self) -> list[str]:
        """What the numbers say, one sentence each."""
        found = [_one_relation(self)] if len(self.relations) == 1 else []
        if len(self.examined) > 1:
            found += [*_largest(self), *_exchanges(self)]
        rare = [
            f"{facts.label} ({facts.training_edges})"
            for facts in self.looked_at
            if facts.training_edges is not None and facts.training_edges < _RARE
        ]
        if rare:
            found.append(f"Trained on few edges: {', '.join(rare)}.")
        return found + self.notes


def _one_relation(found: Findings) -> str:
    return (
        f"There is one relation, '{found.relations[0].label}': all edges have the same weights, "
        "and there is nothing to compare."
    )


def _largest(found: Findings) -> list[str]:
    unit = found.units[found.main]
    rises = {facts.label: found.rise(facts, found.main) or 0.0 for facts in found.looked_at}
    most, least = max(rises, key=rises.__getitem__), min(rises, key=rises.__getitem__)
    before = found.errors.targets[found.main]
    said = [
        f"Switching off {most} costs most: the MAE of the {found.main} goes from {before:.3g} to "
        f"{before + rises[most]:.3g} {unit}; {least} costs least ({before + rises[least]:.3g} "
        f"{unit})."
    ]
    served = {facts.label: facts.served for facts in found.looked_at if facts.served is not None}
    if served:
        worst, best = max(served, key=served.__getitem__), min(served, key=served.__getitem__)
        said.append(
            f"The forces are worst on the atoms that {worst} changes ({served[worst]:.3g} meV/A) "
            f"and best on those of {best} ({served[best]:.3g} meV/A)."
        )
    return said


def _exchanges(found: Findings) -> list[str]:
    if found.exchange is None:
        return []
    rises = found.exchange
    both = np.maximum(rises, rises.T) + np.diag(np.full(len(rises), np.nan))
    if np.isnan(both).all():
        return []
    row, column = (int(k) for k in np.unravel_index(np.nanargmin(both), both.shape))
    pair = (row, column), (column, row)
    said = [_with_weights_of(found, k, other, float(rises[k, other])) for k, other in pair]
    worst = max(float(rises[k, other]) / _error_on(found, k) for k, other in pair)
    verdict = "Training keeps all relations apart."
    if worst < _NOTHING:
        verdict = "Training does not keep these two apart: one set of weights would serve both."
    elif worst < _LITTLE:
        verdict = "These two are close to one another, if not the same."
    names = " and ".join(found.looked_at[k].label for k in (row, column))
    return [f"The relations most alike in what they do are {names}: {'; '.join(said)}. {verdict}"]


def _with_weights_of(found: Findings, own: int, other: int, rise: float) -> str:
    label, others = found.looked_at[own].label, found.looked_at[other].label
    before, unit = _error_on(found, own), found.units[found.main]
    return (
        f"with the weights of {others} the error on the atoms of {label} goes from {before:.3g} to "
        f"{before + rise:.3g} {unit}"
    )


def _error_on(found: Findings, place: int) -> float:
    """The main error on the atoms of a relation, or of everything where it is not known of them."""
    served = found.looked_at[place].served
    return found.errors.targets[found.main] if served is None else served
